// Command riverpg is the peer that queues with River, in a PostgreSQL of its
// own.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/deferd/deferd/bench/peers/internal/peer"
	"github.com/deferd/deferd/bench/peers/internal/riverqueue"
)

// committers is how many groups are inserted at a time.
const committers = 4

func main() { peer.Main("riverpg", open) }

// A jobs is the queue.
type jobs struct {
	*riverqueue.Queue[pgx.Tx]
	server *postgres
	pool   *pgxpool.Pool
}

func open(ctx context.Context, s peer.Settings) (peer.Queue, error) {
	server, err := startPostgres(ctx, s.Dir)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, server.config)
	if err != nil {
		return nil, errors.Join(err, server.stop())
	}
	q, err := riverqueue.Open(ctx, riverpgxv5.New(pool), s, committers)
	if err != nil {
		pool.Close()
		return nil, errors.Join(err, server.stop())
	}
	return &jobs{Queue: q, server: server, pool: pool}, nil
}

// Durability implements peer.Queue.
func (j *jobs) Durability(ctx context.Context) (string, error) {
	var said []string
	for _, name := range strict {
		var got string
		if err := j.pool.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&got); err != nil {
			return "", err
		}
		if got != "on" {
			return "", fmt.Errorf("the server has %s %q, want %q", name, got, "on")
		}
		said = append(said, name+"="+got)
	}
	return strings.Join(said, " "), nil
}

// Processes implements peer.Queue.
func (j *jobs) Processes() []int { return []int{j.server.process.ID()} }

// Close implements peer.Queue.
func (j *jobs) Close() error {
	err := j.Queue.Close()
	j.pool.Close()
	return errors.Join(err, j.server.stop())
}
