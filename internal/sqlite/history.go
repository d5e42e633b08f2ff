package sqlite

import (
	"context"
	"strings"
	"time"

	"github.com/deferd/deferd"
	"zombiezen.com/go/sqlite"
)

// historyBatch bounds how many points are written in one operation: what is
// accepted meanwhile waits for it.
const historyBatch = 200

// AddHistory adds points to those that are there.
func (s *Store) AddHistory(ctx context.Context, points []deferd.Point) error {
	for len(points) > 0 {
		n := min(len(points), historyBatch)
		batch := points[:n]
		points = points[n:]
		err := s.writeUnsynced(ctx, func(t *tx) error {
			for _, p := range batch {
				if err := t.addPoint(p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) addPoint(p deferd.Point) error {
	minute := minuteOf(p.Minute)
	row, oldest, err := t.seriesRow(p.Series)
	switch {
	case err != nil:
		return err
	case row == 0:
		s := p.Series
		err = t.exec("INSERT INTO series (account, namespace, metric, dimensions, unit, oldest) VALUES (?, ?, ?, ?, ?, ?)",
			string(s.Account), s.Namespace, s.Metric, string(s.Dimensions), s.Unit, minute)
		row = t.conn.LastInsertRowID()
	case minute < oldest:
		err = t.exec("UPDATE series SET oldest = ? WHERE row = ?", minute, row)
	}
	if err != nil {
		return err
	}
	return t.exec(`INSERT INTO point VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE
		SET sum = sum + ?3, min = min(min, ?4), max = max(max, ?5), count = count + ?6`,
		row, minute, p.Sum, p.Min, p.Max, p.Count)
}

// seriesRow is the row of a series, and its oldest minute; 0 where there is
// none.
func (t *tx) seriesRow(s deferd.Series) (row, oldest int64, err error) {
	err = t.query("SELECT row, oldest FROM series WHERE account = ? AND namespace = ? AND metric = ? AND dimensions = ? AND unit = ?",
		func(st *sqlite.Stmt) error {
			row, oldest = st.ColumnInt64(0), st.ColumnInt64(1)
			return nil
		}, string(s.Account), s.Namespace, s.Metric, string(s.Dimensions), s.Unit)
	return row, oldest, err
}

// minuteOf is the minute of a time, as it is stored.
func minuteOf(at time.Time) int64 { return at.Unix() / 60 }

// Points reads the points of a series. A bound within a minute counts as that
// minute's beginning.
func (s *Store) Points(ctx context.Context, of deferd.Series, from, to time.Time) (points []deferd.Point, err error) {
	err = s.read(ctx, func(t *tx) error {
		return t.query(`SELECT minute, sum(sum), min(min), max(max), sum(count) FROM point
			WHERE series IN (SELECT row FROM series WHERE account = ?1 AND namespace = ?2 AND metric = ?3 AND dimensions = ?4 AND (unit = ?5 OR ?5 = ''))
			AND minute >= ?6 AND minute < ?7 GROUP BY minute ORDER BY minute`, func(st *sqlite.Stmt) error {
			points = append(points, deferd.Point{
				Series: of, Minute: time.Unix(60*st.ColumnInt64(0), 0).UTC(),
				Sample: deferd.Sample{Sum: st.ColumnFloat(1), Min: st.ColumnFloat(2), Max: st.ColumnFloat(3), Count: st.ColumnFloat(4)},
			})
			return nil
		}, string(of.Account), of.Namespace, of.Metric, string(of.Dimensions), of.Unit, minuteOf(from), minuteOf(to))
	})
	return points, err
}

// SeriesList lists series in order. Its token is the last one of the page.
func (s *Store) SeriesList(ctx context.Context, q deferd.SeriesQuery) (page deferd.Page[deferd.Series], err error) {
	q.Max = max(q.Max, 1)
	where := "account = ?1 AND (?2 = '' OR namespace = ?2) AND (?3 = '' OR metric = ?3)"
	args := []any{string(q.Account), q.Namespace, q.Metric}
	if !q.Since.IsZero() {
		where += " AND EXISTS (SELECT 1 FROM point WHERE point.series = series.row AND minute >= ?)"
		args = append(args, minuteOf(q.Since))
	}
	if q.Token != "" {
		last := strings.Split(q.Token, "\x00")
		if len(last) != 4 {
			return page, deferd.Errorf(deferd.Invalid, "the page token is not one of ours")
		}
		where += " AND (namespace, metric, dimensions, unit) > (?, ?, ?, ?)"
		args = append(args, last[0], last[1], last[2], last[3])
	}
	err = s.read(ctx, func(t *tx) error {
		return t.query("SELECT namespace, metric, dimensions, unit FROM series WHERE "+where+" ORDER BY namespace, metric, dimensions, unit",
			func(st *sqlite.Stmt) error {
				found := deferd.Series{
					Account: q.Account, Namespace: st.ColumnText(0), Metric: st.ColumnText(1),
					Dimensions: deferd.Dimensions(st.ColumnText(2)), Unit: st.ColumnText(3),
				}
				if page.Token != "" || !found.Dimensions.Has(q.Dimensions) {
					return nil
				}
				if len(page.Items) == q.Max {
					l := page.Items[q.Max-1]
					page.Token = strings.Join([]string{l.Namespace, l.Metric, string(l.Dimensions), l.Unit}, "\x00")
					return nil
				}
				page.Items = append(page.Items, found)
				return nil
			}, args...)
	})
	return page, err
}

// PruneHistory deletes old points, and series without any.
func (s *Store) PruneHistory(ctx context.Context, before time.Time, n int) (pruned int, err error) {
	minute := minuteOf(before)
	err = s.writeUnsynced(ctx, func(t *tx) error {
		pruned = 0
		var old []int64
		err := t.query("SELECT row FROM series WHERE oldest < ? ORDER BY oldest LIMIT ?", func(st *sqlite.Stmt) error {
			old = append(old, st.ColumnInt64(0))
			return nil
		}, minute, max(n, 0))
		if err != nil {
			return err
		}
		for _, row := range old {
			if pruned == n {
				return nil
			}
			did, err := t.pruneSeries(row, minute, n-pruned)
			if err != nil {
				return err
			}
			pruned += did
		}
		return nil
	})
	return pruned, err
}

// pruneSeries deletes up to n points of a series, and the series where none is
// left.
func (t *tx) pruneSeries(row, before int64, n int) (int, error) {
	did, err := t.change("DELETE FROM point WHERE series = ?1 AND minute IN (SELECT minute FROM point WHERE series = ?1 AND minute < ?2 ORDER BY minute LIMIT ?3)",
		row, before, n)
	if err != nil {
		return 0, err
	}
	left, err := t.change("UPDATE series SET oldest = (SELECT minute FROM point WHERE series = ?1 ORDER BY minute LIMIT 1) WHERE row = ?1 AND EXISTS (SELECT 1 FROM point WHERE series = ?1)", row)
	if err != nil || left > 0 {
		return did, err
	}
	return did, t.exec("DELETE FROM series WHERE row = ?", row)
}
