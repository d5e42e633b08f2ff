package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/deferd/deferd/bench/peers/internal/peer"
)

// strict are the settings under which a commit is on disk before it is
// answered, and the disk's blocks are whole after a crash. All must be on.
var strict = []string{"fsync", "synchronous_commit", "full_page_writes"}

// connections is the pool's size: that many commits can share a sync.
const connections = 64

// tuned are settings for throughput that leave durability alone.
var tuned = map[string]string{
	"listen_addresses":             "", // only the socket
	"max_connections":              "200",
	"shared_buffers":               "1GB",
	"wal_level":                    "minimal", // there is no replica
	"max_wal_senders":              "0",
	"wal_buffers":                  "64MB",
	"max_wal_size":                 "8GB", // no checkpoint in the middle
	"checkpoint_timeout":           "30min",
	"jit":                          "off",
	"huge_pages":                   "off",
	"max_parallel_workers":         "0",  // as if each query had 2 cores
	"autovacuum_naptime":           "5s", // a queue's table has many dead rows
	"autovacuum_vacuum_cost_delay": "0",
	"log_checkpoints":              "off",
}

// A postgres is a PostgreSQL of our own.
type postgres struct {
	process *peer.Process
	config  *pgxpool.Config
}

// startPostgres makes a cluster in dir and starts it, on a socket.
func startPostgres(ctx context.Context, dir string) (*postgres, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	who, err := account(data)
	if err != nil {
		return nil, err
	}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "river", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = who, "/"
	if said, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, said)
	}
	args := []string{"-D", data, "-c", "unix_socket_directories=" + data}
	for _, name := range strict {
		args = append(args, "-c", name+"=on")
	}
	for name, value := range tuned {
		args = append(args, "-c", name+"="+value)
	}
	config, err := pgxpool.ParseConfig("host=" + data + " user=river dbname=postgres")
	if err != nil {
		return nil, err
	}
	config.MaxConns, config.MinConns = connections, connections
	cmd := exec.Command(filepath.Join(bin, "postgres"), args...)
	cmd.SysProcAttr, cmd.Dir = who, "/"
	p, err := peer.Start(cmd, filepath.Join(dir, "postgres.log"), func() error {
		c, err := pgx.ConnectConfig(ctx, config.ConnConfig)
		if err != nil {
			return err
		}
		return c.Close(ctx)
	})
	if err != nil {
		return nil, err
	}
	return &postgres{process: p, config: config}, nil
}

// programs is the directory of the newest PostgreSQL's, as Debian has them.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", errors.Join(errors.New("PostgreSQL is not below /usr/lib/postgresql"), err)
	}
	slices.SortFunc(found, func(a, b string) int { return strings.Compare(fmt.Sprintf("%40s", a), fmt.Sprintf("%40s", b)) })
	return filepath.Dir(found[len(found)-1]), nil
}

// stop ends PostgreSQL in the way that it calls fast.
func (p *postgres) stop() error { return p.process.Stop(syscall.SIGINT) }
