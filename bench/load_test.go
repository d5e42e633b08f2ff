package main

import (
	"bufio"
	"io"
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

func TestReadAnswer(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		head         bool
		status       int
		body, rest   string
	}{
		{"success", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}next", false, 200, "", "next"},
		{"a HEAD has no body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nnext", true, 200, "", "next"},
		{"refused", "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nwhynext", false, 403, "why", "next"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := bufio.NewReader(strings.NewReader(test.answer))
			status, body, err := readAnswer(r, test.head)
			if err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if status != test.status || string(body) != test.body || string(rest) != test.rest {
				t.Errorf("got %d, %q and %q left, want %d, %q and %q", status, body, rest, test.status, test.body, test.rest)
			}
		})
	}
}
