package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// A Notification is one that waits for its receiver, or that was given up.
type Notification struct {
	ID      string    `json:"id"`    // of what it tells of, such as an invocation
	State   string    `json:"state"` // Waiting or Dead
	Target  string    `json:"target"`
	Created time.Time `json:"createdTime"`
	Due     time.Time `json:"dueTime,omitzero"` // of the next try
	Tries   int       `json:"tries"`
	Error   string    `json:"lastError,omitempty"`
}

// Notifications yields the notifications that no receiver has taken yet, newest
// first; only those that were given up where dead says so.
func (c *Client) Notifications(ctx context.Context, dead bool) iter.Seq2[Notification, error] {
	params := url.Values{"maxResults": {"100"}}
	if dead {
		params.Set("state", "Dead")
	}
	return func(yield func(Notification, error) bool) {
		params.Del("nextToken")
		for {
			var page struct {
				Notifications []Notification `json:"notifications"`
				NextToken     string         `json:"nextToken"`
			}
			if err := c.get(ctx, "/notifications", params, &page); err != nil {
				yield(Notification{}, err)
				return
			}
			for _, n := range page.Notifications {
				if !yield(n, nil) {
					return
				}
			}
			if page.NextToken == "" {
				return
			}
			params.Set("nextToken", page.NextToken)
		}
	}
}

// ReplayNotification has a notification that was given up delivered as if it
// were new. An *Error with code ResourceNotFound says that there is none.
func (c *Client) ReplayNotification(ctx context.Context, id string) error {
	var done struct {
		Replayed int `json:"replayed"`
	}
	return c.send(ctx, http.MethodPost, "/notifications/"+url.PathEscape(id)+"/replay", nil, &done)
}
