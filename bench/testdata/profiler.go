package main

import (
	"net/http"
	_ "net/http/pprof"
	"os"
)

// This file is compiled into deferd by "bench -profile" alone.
func init() {
	if addr := os.Getenv("BENCH_PPROF"); addr != "" {
		go http.ListenAndServe(addr, nil)
	}
}
