package sqlite

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// noticeCounts are how many notices there are, as of the last commit.
type noticeCounts struct {
	waiting, dead atomic.Int64
}

// count counts what an earlier life has left.
func (c *noticeCounts) count(conn *sqlite.Conn) error {
	for query, n := range map[string]*atomic.Int64{
		"SELECT count(*) FROM notice WHERE due IS NOT NULL": &c.waiting,
		"SELECT count(*) FROM notice WHERE due IS NULL":     &c.dead,
	} {
		found, err := queryInt(conn, query)
		if err != nil {
			return err
		}
		n.Store(found)
	}
	return nil
}

// countNotices counts a change once it is committed.
func (t *tx) countNotices(waiting, dead int) {
	c := &t.store.notices
	t.after = append(t.after, func() {
		c.waiting.Add(int64(waiting))
		c.dead.Add(int64(dead))
	})
}

// AddNotice puts a notification into the outbox.
func (s *Store) AddNotice(ctx context.Context, a deferd.AccountID, n deferd.Notification) error {
	return s.write(ctx, func(t *tx) error { return t.addNotice(deferd.Notice{Notification: n, Account: a}) })
}

func (t *tx) addNotice(n deferd.Notice) error {
	added, err := t.change(`INSERT INTO notice (id, target, account, endpoint, variant, subject, created, since, due, tries, error, message)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?7, 0, '', ?8) ON CONFLICT DO NOTHING`,
		n.ID, n.Target, string(n.Account), string(n.Endpoint), string(n.Variant), n.Subject, t.now, n.Message)
	if err != nil || added == 0 {
		return err
	}
	t.countNotices(1, 0)
	t.announceNotice(n.Target)
	return nil
}

// NoticeTargets finds each target by a look of its own: one may have many
// notices.
func (s *Store) NoticeTargets(ctx context.Context, after string, n int) (targets []string, err error) {
	err = s.read(ctx, func(t *tx) error {
		for len(targets) < n {
			found := len(targets)
			err := t.query("SELECT target FROM notice WHERE due IS NOT NULL AND target > ? ORDER BY target LIMIT 1", func(st *sqlite.Stmt) error {
				after = st.ColumnText(0)
				targets = append(targets, after)
				return nil
			}, after)
			if err != nil || len(targets) == found {
				return err
			}
		}
		return nil
	})
	return targets, err
}

// DueNotices reads what waits for a target.
func (s *Store) DueNotices(ctx context.Context, target string, n int) ([]deferd.Notice, error) {
	return s.noticesWhere(ctx, "target = ? AND due IS NOT NULL ORDER BY due LIMIT ?", target, max(n, 0))
}

func (s *Store) noticesWhere(ctx context.Context, where string, args ...any) (notices []deferd.Notice, err error) {
	err = s.read(ctx, func(t *tx) error {
		return t.query("SELECT seq, id, target, account, endpoint, variant, subject, created, since, due, tries, error, message FROM notice WHERE "+where,
			func(st *sqlite.Stmt) error {
				c := &columns{s: st}
				var n deferd.Notice
				n.Seq, n.ID, n.Target = c.int64(), c.text(), c.text()
				n.Account, n.Endpoint, n.Variant = deferd.AccountID(c.text()), deferd.EndpointID(c.text()), deferd.VariantName(c.text())
				n.Subject = c.text()
				n.Created, n.Since, n.Due = c.time(), c.time(), c.time()
				n.Tries, n.Error, n.Message = c.int(), c.text(), c.text()
				notices = append(notices, n)
				return c.err
			}, args...)
	})
	return notices, err
}

// NoticeDelivered forgets a notice.
func (s *Store) NoticeDelivered(ctx context.Context, seq int64) error {
	return s.writeUnsynced(ctx, func(t *tx) error {
		waiting, err := t.change("DELETE FROM notice WHERE seq = ? AND due IS NOT NULL", seq)
		if err != nil {
			return err
		}
		dead := 0
		if waiting == 0 {
			dead, err = t.change("DELETE FROM notice WHERE seq = ?", seq)
		}
		t.countNotices(-waiting, -dead)
		return err
	})
}

// NoticeFailed records a try, unless it is recorded already.
func (s *Store) NoticeFailed(ctx context.Context, try deferd.NoticeTry) error {
	if len(try.Error) > deferd.MaxNoticeError {
		try.Error = strings.ToValidUTF8(try.Error[:deferd.MaxNoticeError], "")
	}
	return s.writeUnsynced(ctx, func(t *tx) error {
		n, err := t.change("UPDATE notice SET due = ?, tries = ?, error = ? WHERE seq = ? AND due IS NOT NULL AND tries = ?",
			try.Next, try.Tries, try.Error, try.Seq, try.Tries-1)
		if err == nil && n > 0 && try.Next.IsZero() {
			t.countNotices(-1, 1)
		}
		return err
	})
}

// Notices lists notices, newest first.
func (s *Store) Notices(ctx context.Context, q deferd.NoticeQuery) (page deferd.Page[deferd.Notice], err error) {
	q.Max = max(q.Max, 1)
	before, err := rowBefore(q.Token)
	if err != nil {
		return page, err
	}
	where := "account = ? AND seq < ?"
	if q.Dead {
		where += " AND due IS NULL"
	}
	page.Items, err = s.noticesWhere(ctx, where+" ORDER BY seq DESC LIMIT ?", string(q.Account), before, q.Max+1)
	if len(page.Items) > q.Max {
		page.Items = page.Items[:q.Max]
		page.Token = rowToken(page.Items[q.Max-1].Seq)
	}
	return page, err
}

// ReplayNotice brings dead notices back.
func (s *Store) ReplayNotice(ctx context.Context, a deferd.AccountID, id string) (replayed int, err error) {
	err = s.write(ctx, func(t *tx) error {
		replayed = 0
		var targets []string
		err := t.query("SELECT target FROM notice WHERE id = ? AND account = ? AND due IS NULL", func(st *sqlite.Stmt) error {
			targets = append(targets, st.ColumnText(0))
			return nil
		}, id, string(a))
		if err != nil {
			return err
		}
		for _, target := range targets {
			if err := t.exec("UPDATE notice SET since = ?1, due = ?1, tries = 0 WHERE id = ?2 AND target = ?3", t.now, id, target); err != nil {
				return err
			}
			t.announceNotice(target)
		}
		replayed = len(targets)
		t.countNotices(replayed, -replayed)
		return nil
	})
	return replayed, err
}

// OutboxCounts says what is kept.
func (s *Store) OutboxCounts(ctx context.Context) (c deferd.OutboxCounts, err error) {
	c.Waiting, c.Dead = s.notices.waiting.Load(), s.notices.dead.Load()
	err = s.read(ctx, func(t *tx) error {
		return t.query("SELECT min(since) FROM notice WHERE due IS NOT NULL", func(st *sqlite.Stmt) error {
			c.Oldest = columnTime(st, 0)
			return nil
		})
	})
	return c, err
}

// pruneNotices deletes up to n notices that died of what began before a time.
func (t *tx) pruneNotices(before time.Time, n int) error {
	deleted, err := t.change("DELETE FROM notice WHERE seq IN (SELECT seq FROM notice WHERE due IS NULL AND since < ? ORDER BY since LIMIT ?)", before, n)
	t.countNotices(0, -deleted)
	return err
}
