package awsapi

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/deferd/deferd"
)

// notificationsRoot is where our own operations on notifications are.
const notificationsRoot = "/notifications"

func isNotifications(path string) bool {
	return path == notificationsRoot || strings.HasPrefix(path, notificationsRoot+"/")
}

// notificationsPath finds the operation of a request to /notifications….
func (s *Server) notificationsPath(c *call) error {
	parts := strings.Split(strings.TrimPrefix(c.r.URL.EscapedPath(), notificationsRoot), "/")
	switch {
	case c.r.Method == http.MethodGet && len(parts) == 1:
		return s.listNotifications(c)
	case c.r.Method == http.MethodPost && len(parts) == 3 && parts[2] == "replay":
		return s.replayNotification(c, parts[1])
	}
	return unknownOperation("There is no operation " + c.r.Method + " " + c.r.URL.Path + ".")
}

// A notificationDocument is a notification as our own operations show it, without
// its message.
type notificationDocument struct {
	ID      string `json:"id"`
	State   string `json:"state"` // Waiting or Dead
	Target  string `json:"target"`
	Created string `json:"createdTime"`
	Due     string `json:"dueTime,omitempty"` // of the next try; a dead one has none
	Tries   int    `json:"tries"`
	Error   string `json:"lastError,omitempty"`
}

func newNotificationDocument(n deferd.Notice) notificationDocument {
	d := notificationDocument{
		ID: n.ID, State: "Waiting", Target: n.Target, Created: instant(n.Created), Due: instant(n.Due), Tries: n.Tries, Error: n.Error,
	}
	if n.Dead() {
		d.State = "Dead"
	}
	return d
}

// listNotifications answers with a page of the notifications that nobody has
// taken yet, newest first.
func (s *Server) listNotifications(c *call) error {
	if err := c.authorize("deferd:ListNotifications", c.arn("notification", "*")); err != nil {
		return err
	}
	q, err := noticeQuery(c.principal.Account, c.r.URL.Query())
	if err != nil {
		return err
	}
	page, err := s.Store.Notices(c.ctx(), q)
	if err != nil {
		return err
	}
	out := struct {
		Notifications []notificationDocument `json:"notifications"`
		NextToken     string                 `json:"nextToken,omitempty"`
	}{[]notificationDocument{}, page.Token}
	for _, n := range page.Items {
		out.Notifications = append(out.Notifications, newNotificationDocument(n))
	}
	return c.respondJSON(http.StatusOK, out)
}

// noticeQuery reads state, of which there is "Dead", and what every page has.
func noticeQuery(a deferd.AccountID, params url.Values) (deferd.NoticeQuery, error) {
	q := deferd.NoticeQuery{Account: a, Token: params.Get("nextToken")}
	switch params.Get("state") {
	case "":
	case "Dead":
		q.Dead = true
	default:
		return q, deferd.Errorf(deferd.Invalid, "state must be Dead, or left out.")
	}
	var err error
	q.Max, err = pageSize(params)
	return q, err
}

// pageSize reads maxResults.
func pageSize(params url.Values) (int, error) {
	if !params.Has("maxResults") {
		return 50, nil
	}
	n, err := strconv.Atoi(params.Get("maxResults"))
	if err != nil || n < 1 || n > 100 {
		return 0, deferd.Errorf(deferd.Invalid, "maxResults must be a number from 1 to 100.")
	}
	return n, nil
}

// replayNotification has a dead notification delivered as if it were new.
func (s *Server) replayNotification(c *call, rawID string) error {
	id, err := url.PathUnescape(rawID)
	if err != nil {
		return deferd.Errorf(deferd.Invalid, "The notification ID is not well formed.")
	}
	if err := c.authorize("deferd:ReplayNotification", c.arn("notification", id)); err != nil {
		return err
	}
	n, err := s.Store.ReplayNotice(c.ctx(), c.principal.Account, id)
	if err != nil {
		return err
	}
	if n == 0 {
		return &failure{status: http.StatusNotFound, code: "ResourceNotFound", msg: "There is no dead notification " + id + "."}
	}
	return c.respondJSON(http.StatusOK, struct {
		Replayed int `json:"replayed"`
	}{n})
}

// testTopics tells whom a configuration wants to be notified that it is so, as
// SageMaker does when an endpoint is deployed. The endpoint is there already, so
// a store that fails now fails nothing.
func (s *Server) testTopics(c *call, a *deferd.AsyncConfig) {
	if a == nil {
		return
	}
	targets := []string{a.SuccessTopic}
	if a.ErrorTopic != a.SuccessTopic {
		targets = append(targets, a.ErrorTopic)
	}
	for _, t := range targets {
		if t == "" {
			continue
		}
		if err := s.Store.AddNotice(c.ctx(), c.principal.Account, deferd.TestNotification(uuid.NewString(), t)); err != nil {
			s.Logger.WarnContext(c.ctx(), "a topic could not be tested", "request_id", c.id, "err", err)
		}
	}
}
