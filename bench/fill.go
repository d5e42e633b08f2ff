package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/google/uuid"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/sqlite"
)

// account is the one that a server has where nothing else is said.
const account = "000000000000"

// fillers is how many goroutines fill a store: as many as may share a commit.
const fillers = 512

// inStore calls do with the store of a server in dir, which does not run.
// Filling a long queue through HTTP would take most of a measurement's time.
func inStore(dir string, do func(*sqlite.Store) error) error {
	store, err := sqlite.Open(filepath.Join(dataDir(dir), "deferd.db"), sqlite.Options{})
	if err != nil {
		return err
	}
	return errors.Join(do(store), store.Close())
}

// queue stores n invocations for the endpoint, each by S3.
func queue(ctx context.Context, dir string, n int) error {
	return inStore(dir, func(store *sqlite.Store) error {
		e, err := store.Endpoint(ctx, account, endpoint)
		if err != nil {
			return err
		}
		locations := inputLocations()
		return inParallel(ctx, n, func(i int) error {
			id, err := uuid.NewV7()
			if err != nil {
				return err
			}
			in := deferd.InvocationID(id.String())
			_, _, err = store.Accept(ctx, deferd.NewInvocation{
				ID: in, InferenceID: string(in), Account: account, Endpoint: e.ID, Config: e.ConfigID,
				Input:       locations[i%len(locations)],
				ContentType: "application/octet-stream",
				Output:      deferd.OutputLocation(deferd.Location{Bucket: bucket, Key: "out"}, "", "", in),
				TTL:         deferd.DefaultTTL,
				Timeout:     deferd.DefaultTimeout,
			})
			return err
		})
	})
}

// addEndpoints stores n endpoints beside the one that there is. They are like
// it, but have no instances, and accept.
func addEndpoints(ctx context.Context, dir string, n int) error {
	return inStore(dir, func(store *sqlite.Store) error {
		first, err := store.Endpoint(ctx, account, endpoint)
		if err != nil {
			return err
		}
		return inParallel(ctx, n, func(i int) error {
			e := first
			e.ID = deferd.EndpointID(uuid.NewString())
			e.Name = deferd.EndpointName(idleEndpoint(i))
			e.Variants = []deferd.EndpointVariant{{Name: first.Variants[0].Name, Weight: 1}}
			return store.CreateEndpoint(ctx, e)
		})
	})
}

func idleEndpoint(i int) string { return fmt.Sprintf("%s-%d", endpoint, i) }

// inParallel calls do with each number below n, until one fails.
func inParallel(ctx context.Context, n int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for w := range min(fillers, n) {
		wg.Go(func() {
			for i := w; i < n && ctx.Err() == nil; i += fillers {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
