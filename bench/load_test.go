package main

import (
	"bufio"
	"strings"
	"testing"
)

func TestReadAccepted(t *testing.T) {
	for _, test := range []struct {
		name, answers string
		accepted      int
	}{
		{"two answers", "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 202 Accepted\r\ncontent-length:3\r\nDate: x\r\n\r\nabc", 2},
		{"no body", "HTTP/1.1 202 Accepted\r\n\r\n", 1},
		{"refused", "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}", 0},
		{"other success", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0},
		{"cut short", "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{", 0},
		{"no length", "HTTP/1.1 202 Accepted\r\nContent-Length: two\r\n\r\n{}", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := bufio.NewReader(strings.NewReader(test.answers))
			got := 0
			for readAccepted(r) == nil {
				got++
			}
			if got != test.accepted {
				t.Errorf("%d answers were accepted, want %d", got, test.accepted)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		name string
		s    series
		want float64
	}{
		{"none", nil, 0},
		{"one", series{7}, 7},
		{"lower of two", series{9, 3}, 3},
		{"middle", series{9, 1, 3}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.s.median(); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
