package bothways

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/deferd/deferd"
)

// work is a server behind a border where calls fail, as it is to an agent.
type work struct {
	*faults
	server func() deferd.Work // the one that answers now
}

func (w *work) Open(ctx context.Context, s deferd.Session) (deferd.SessionID, error) {
	return do(ctx, w.faults, "work.Open", "", func(ctx context.Context) (deferd.SessionID, error) {
		return w.server().Open(ctx, s)
	})
}

func (w *work) Claim(ctx context.Context, c deferd.ClaimRequest) (deferd.Claim, error) {
	return do(ctx, w.faults, "work.Claim", fmt.Sprint(c.Confirmed), func(ctx context.Context) (deferd.Claim, error) {
		return w.server().Claim(ctx, c)
	})
}

func (w *work) Extend(ctx context.Context, e deferd.ExtendRequest) (deferd.Extension, error) {
	return do(ctx, w.faults, "work.Extend", fmt.Sprint(e.Confirmed), func(ctx context.Context) (deferd.Extension, error) {
		return w.server().Extend(ctx, e)
	})
}

func (w *work) Input(ctx context.Context, id deferd.LeaseID, g deferd.GetObject) (*deferd.Object, error) {
	return do(ctx, w.faults, "work.Input", string(id), func(ctx context.Context) (*deferd.Object, error) {
		return w.server().Input(ctx, id, g)
	})
}

func (w *work) Upload(ctx context.Context, id deferd.LeaseID, output bool, a deferd.ObjectAttributes) (*deferd.Upload, error) {
	return do(ctx, w.faults, "work.Upload", string(id), func(ctx context.Context) (*deferd.Upload, error) {
		return w.server().Upload(ctx, id, output, a)
	})
}

func (w *work) UploadPart(ctx context.Context, id deferd.LeaseID, u deferd.Upload, n int, size int64, body io.Reader) (deferd.Part, error) {
	if w.step == "work.UploadPart" && w.way == late {
		b, err := io.ReadAll(body) // what is on its way
		if err != nil {
			return deferd.Part{}, err
		}
		body = bytes.NewReader(b)
	}
	return do(ctx, w.faults, "work.UploadPart", u.ID+fmt.Sprint(n), func(ctx context.Context) (deferd.Part, error) {
		return w.server().UploadPart(ctx, id, u, n, size, body)
	})
}

func (w *work) Settle(ctx context.Context, s deferd.Settlement) error {
	return try(ctx, w.faults, "work.Settle", string(s.Lease), func(ctx context.Context) error {
		return w.server().Settle(ctx, s)
	})
}

func (w *work) Release(ctx context.Context, r deferd.Release) error {
	return try(ctx, w.faults, "work.Release", string(r.Lease), func(ctx context.Context) error {
		return w.server().Release(ctx, r)
	})
}

func (w *work) Close(ctx context.Context, id deferd.SessionID) error {
	return try(ctx, w.faults, "work.Close", string(id), func(ctx context.Context) error {
		return w.server().Close(ctx, id)
	})
}
