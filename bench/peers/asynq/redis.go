package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/deferd/deferd/bench/peers/internal/peer"
)

// strict are the settings under which a write is on disk before it is answered.
var strict = []struct{ name, value string }{
	{"appendonly", "yes"},
	{"appendfsync", "always"},
	{"no-appendfsync-on-rewrite", "no"},
}

// A redisServer is a Redis of our own.
type redisServer struct {
	process *peer.Process
	client  *redis.Client
}

// startRedis starts Redis on a socket in dir. Its snapshots are off, for the
// append-only file has everything, and so is writing that file anew, which
// would compete with what is measured.
func startRedis(ctx context.Context, dir string) (*redisServer, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "redis.sock")
	args := []string{"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--auto-aof-rewrite-percentage", "0", "--daemonize", "no"}
	for _, s := range strict {
		args = append(args, "--"+s.name, s.value)
	}
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, PoolSize: connections, MaxRetries: -1})
	p, err := peer.Start(exec.Command("redis-server", args...), filepath.Join(dir, "redis.log"), func() error {
		return client.Ping(ctx).Err()
	})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &redisServer{process: p, client: client}, nil
}

// durability asks Redis for its settings.
func (r *redisServer) durability(ctx context.Context) (string, error) {
	var said []string
	for _, s := range strict {
		got, err := r.client.ConfigGet(ctx, s.name).Result()
		if err != nil {
			return "", err
		}
		if got[s.name] != s.value {
			return "", fmt.Errorf("the server has %s %q, want %q", s.name, got[s.name], s.value)
		}
		said = append(said, s.name+"="+s.value)
	}
	return strings.Join(said, " "), nil
}

func (r *redisServer) stop() error {
	return errors.Join(r.client.Close(), r.process.Stop(syscall.SIGTERM))
}
