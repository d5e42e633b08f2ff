package objectserver

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/deferd/deferd"
)

const day = 24 * time.Hour

// lifecycleXML is a configuration of these rules.
func lifecycleXML(rules ...string) string {
	return "<LifecycleConfiguration><Rule>" + strings.Join(rules, "</Rule><Rule>") + "</Rule></LifecycleConfiguration>"
}

// do makes a request without a server, which would need real time.
func do(h *Handler, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.Serve(w, httptest.NewRequest(method, path, nil), deferd.Principal{}, plainBody{strings.NewReader(body), int64(len(body)), nil})
	return w
}

func setLifecycleXML(t *testing.T, h *Handler, rules ...string) {
	t.Helper()
	if w := do(h, "PUT", "/bucket?lifecycle", lifecycleXML(rules...)); w.Code != 200 {
		t.Fatalf("PutBucketLifecycleConfiguration: status %d\n%s", w.Code, w.Body)
	}
}

// keysOf lists the bucket's keys.
func keysOf(t *testing.T, s *Store) []string {
	t.Helper()
	var keys []string
	for o, err := range s.List(t.Context(), deferd.Location{Bucket: "bucket"}) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

const enabled = "<Status>Enabled</Status>"

// TestExpiration lets days pass. Objects are stored at noon.
func TestExpiration(t *testing.T) {
	tests := []struct {
		name  string
		rules []string
		days  map[int][]string // what is left after so many days, one hour past midnight
	}{
		{"days", []string{enabled + "<Filter/><Expiration><Days>2</Days></Expiration>"},
			map[int][]string{2: {"a/1", "a/big", "a/tagged", "b"}, 3: nil}},
		{"prefix", []string{enabled + "<Filter><Prefix>a/</Prefix></Filter><Expiration><Days>1</Days></Expiration>"},
			map[int][]string{1: {"a/1", "a/big", "a/tagged", "b"}, 2: {"b"}}},
		{"prefix of a rule", []string{enabled + "<Prefix>a/b</Prefix><Expiration><Days>1</Days></Expiration>"},
			map[int][]string{2: {"a/1", "a/tagged", "b"}}},
		{"tag", []string{enabled + "<Filter><Tag><Key>keep</Key><Value>no</Value></Tag></Filter><Expiration><Days>1</Days></Expiration>"},
			map[int][]string{2: {"a/1", "a/big", "b"}}},
		{"other tag", []string{enabled + "<Filter><Tag><Key>keep</Key><Value>yes</Value></Tag></Filter><Expiration><Days>1</Days></Expiration>"},
			map[int][]string{9: {"a/1", "a/big", "a/tagged", "b"}}},
		{"and", []string{enabled + "<Filter><And><Prefix>a/</Prefix><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan><ObjectSizeLessThan>100</ObjectSizeLessThan></And></Filter><Expiration><Days>1</Days></Expiration>"},
			map[int][]string{2: {"a/1", "a/big", "b"}}},
		{"larger", []string{enabled + "<Filter><ObjectSizeGreaterThan>100</ObjectSizeGreaterThan></Filter><Expiration><Days>1</Days></Expiration>"},
			map[int][]string{2: {"a/1", "a/tagged", "b"}}},
		{"disabled", []string{"<Status>Disabled</Status><Filter/><Expiration><Days>1</Days></Expiration>"},
			map[int][]string{9: {"a/1", "a/big", "a/tagged", "b"}}},
		{"date", []string{enabled + "<Filter/><Expiration><Date>2000-01-04T00:00:00Z</Date></Expiration>"},
			map[int][]string{2: {"a/1", "a/big", "a/tagged", "b"}, 3: nil}},
		{"two rules", []string{
			enabled + "<Filter><Prefix>a/1</Prefix></Filter><Expiration><Days>3</Days></Expiration>",
			enabled + "<Filter><Prefix>b</Prefix></Filter><Expiration><Days>1</Days></Expiration>",
		}, map[int][]string{2: {"a/1", "a/big", "a/tagged"}, 4: {"a/big", "a/tagged"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := openTest(t, dir, Options{SegmentSize: 500})
				h := NewHandler(s, HandlerOptions{})
				time.Sleep(12 * time.Hour) // the bubble's first midnight is 2000-01-01
				for key, size := range map[string]int{"a/1": 1, "a/big": 300 << 10, "a/tagged": 10, "b": 1} {
					mustPut(t, s, key, strings.Repeat("x", size))
				}
				if err := s.setObjectTags(t.Context(), at("a/tagged"), []tag{{"keep", "no"}}); err != nil {
					t.Fatal(err)
				}
				setLifecycleXML(t, h, test.rules...)
				begun := time.Now().Add(-12 * time.Hour)
				for n := range 10 {
					want, ok := test.days[n]
					time.Sleep(time.Until(begun.Add(time.Duration(n)*day + 2*time.Hour)))
					synctest.Wait()
					if got := keysOf(t, s); ok && !slices.Equal(got, want) {
						t.Errorf("after %d days: %q, want %q", n, got, want)
					}
				}
				s.Close()
			})
		})
	}
}

// TestExpirationLasts closes the store before the day has come, and finds the
// rule's work done after the next start, and the rule in a log that was
// cleaned.
func TestExpirationLasts(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, dir, Options{SegmentSize: 1000})
		setLifecycleXML(t, NewHandler(s, HandlerOptions{}), "<ID>r</ID>"+enabled+"<Filter><Prefix>old</Prefix></Filter><Expiration><Days>1</Days></Expiration>")
		for i := range 50 {
			mustPut(t, s, fmt.Sprint("old", i), "x")
			mustPut(t, s, "lasting", "stays")
		}
		waitClean(t, s)
		s.Close()
		time.Sleep(3 * day)
		s = openTest(t, dir, Options{SegmentSize: 1000})
		synctest.Wait()
		if got, want := keysOf(t, s), []string{"lasting"}; !slices.Equal(got, want) {
			t.Errorf("after the start: %q, want %q", got, want)
		}
		w := do(NewHandler(s, HandlerOptions{}), "GET", "/bucket?lifecycle", "")
		if want := "<ID>r</ID><Filter><Prefix>old</Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>"; !strings.Contains(w.Body.String(), want) {
			t.Errorf("lifecycle is %s, want one with %s", w.Body, want)
		}
		s.Close()
	})
}

// TestRuleChangedMeanwhile takes the rule back between the look and the delete.
func TestRuleChangedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, dir, Options{})
		mustPut(t, s, "replaced", "old")
		mustPut(t, s, "k", "x")
		setLifecycleXML(t, NewHandler(s, HandlerOptions{}), enabled+"<Filter/><Expiration><Days>1</Days></Expiration>")
		synctest.Wait()
		b, err := s.bucket("bucket")
		if err != nil {
			t.Fatal(err)
		}
		due := s.list(listQuery{bucket: "bucket", max: 10}).entries
		mustPut(t, s, "replaced", "new")
		if err := s.deleteExpired(b, due); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(map[string]string{"replaced": "new"}, contents(t, s)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := s.setLifecycle(t.Context(), "bucket", nil); err != nil {
			t.Fatal(err)
		}
		if err := s.deleteExpired(b, s.list(listQuery{bucket: "bucket", max: 10}).entries); err != nil {
			t.Error(err)
		}
		if got := keysOf(t, s); len(got) != 1 {
			t.Errorf("%q are left after the rule was taken back, want one", got)
		}
		s.Close()
	})
}

// TestUploadsEnd lets uploads lie: with a rule as it says, else a week.
func TestUploadsEnd(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, dir, Options{Logger: slog.New(slog.DiscardHandler)})
		h := NewHandler(s, HandlerOptions{})
		setLifecycleXML(t, h,
			"<ID>soon</ID>"+enabled+"<Filter><Prefix>soon/</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
			"<ID>late</ID>"+enabled+"<Filter><Prefix>late/</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>10</DaysAfterInitiation></AbortIncompleteMultipartUpload>")
		time.Sleep(12 * time.Hour)
		for key, rule := range map[string]string{"soon/k": "soon", "late/k": "late", "k": ""} {
			w := do(h, "POST", "/bucket/"+key+"?uploads", "")
			if got := w.Header().Get("X-Amz-Abort-Rule-Id"); w.Code != 200 || got != rule {
				t.Errorf("CreateMultipartUpload of %s: status %d, ended by rule %q, want %q", key, w.Code, got, rule)
			}
		}
		for _, step := range []struct {
			days int
			want []string
		}{{1, []string{"k", "late/k", "soon/k"}}, {2, []string{"k", "late/k"}}, {7, []string{"k", "late/k"}}, {8, []string{"late/k"}}, {10, []string{"late/k"}}, {11, nil}} {
			time.Sleep(time.Until(time.Date(2000, 1, 1+step.days, 2, 0, 0, 0, time.UTC)))
			synctest.Wait()
			if step.days == 8 {
				time.Sleep(12 * time.Hour) // a week is one to the hour
				synctest.Wait()
			}
			var got []string
			for _, u := range s.uploadsAfter("bucket", "", "", "") {
				got = append(got, u.location.Key)
			}
			if !slices.Equal(got, step.want) {
				t.Errorf("after %d days: uploads %q, want %q", step.days, got, step.want)
			}
		}
		s.Close()
	})
}

func TestMidnightAfter(t *testing.T) {
	tests := []struct {
		from string
		days int
		want string
	}{
		{"2014-01-15T10:30:00Z", 3, "2014-01-19T00:00:00Z"},
		{"2014-01-15T00:00:00Z", 3, "2014-01-18T00:00:00Z"},
		{"2014-01-15T23:59:59Z", 1, "2014-01-17T00:00:00Z"},
		{"2026-02-28T12:00:00Z", 1, "2026-03-02T00:00:00Z"},
	}
	for _, test := range tests {
		from, err := time.Parse(time.RFC3339, test.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := midnightAfter(from.UnixNano(), test.days).Format(time.RFC3339); got != test.want {
			t.Errorf("midnightAfter(%s, %d) = %s, want %s", test.from, test.days, got, test.want)
		}
	}
	if got := midnightAfter(time.Now().UnixNano(), maxLifecycleDays); got.Before(time.Now()) {
		t.Errorf("the most days end at %v, in the past", got)
	}
}

// TestExpirationHeader reads when a rule will end an object.
func TestExpirationHeader(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, dir, Options{})
		h := NewHandler(s, HandlerOptions{})
		setLifecycleXML(t, h,
			"<ID>in two days</ID>"+enabled+"<Filter><Prefix>a</Prefix></Filter><Expiration><Days>2</Days></Expiration>",
			"<ID>later</ID>"+enabled+"<Filter/><Expiration><Days>5</Days></Expiration>")
		const early = `expiry-date="Mon, 03 Jan 2000 00:00:00 GMT", rule-id="in+two+days"`
		const late = `expiry-date="Thu, 06 Jan 2000 00:00:00 GMT", rule-id="later"`
		for _, r := range []struct{ method, key, want string }{
			{"PUT", "a", early}, {"GET", "a", early}, {"HEAD", "a", early}, {"PUT", "b", late}, {"GET", "b", late},
		} {
			w := do(h, r.method, "/bucket/"+r.key, "")
			if got := w.Header().Get("X-Amz-Expiration"); w.Code != 200 || got != r.want {
				t.Errorf("%s %s: status %d, expiration %q, want %q", r.method, r.key, w.Code, got, r.want)
			}
		}
		s.Close()
	})
}

func TestLifecycleRefusals(t *testing.T) {
	h := NewHandler(openTest(t, t.TempDir(), Options{}), HandlerOptions{})
	const days = "<Expiration><Days>1</Days></Expiration>"
	abort := func(n string) string {
		return "<AbortIncompleteMultipartUpload><DaysAfterInitiation>" + n + "</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
	}
	tests := []struct {
		name, body, code, names string
	}{
		{"nothing", "", "MalformedXML", ""},
		{"no rules", "<LifecycleConfiguration/>", "MalformedXML", ""},
		{"other document", "<Tagging/>", "MalformedXML", ""},
		{"unknown element", lifecycleXML(enabled + "<Filter/><Sleep/>" + days), "MalformedXML", ""},
		{"unknown element within", lifecycleXML(enabled + "<Filter><Suffix>x</Suffix></Filter>" + days), "MalformedXML", ""},
		{"no status", lifecycleXML("<Filter/>" + days), "MalformedXML", ""},
		{"other status", lifecycleXML("<Status>On</Status><Filter/>" + days), "MalformedXML", ""},
		{"no filter", lifecycleXML(enabled + days), "MalformedXML", ""},
		{"filter and prefix", lifecycleXML(enabled + "<Prefix>a</Prefix><Filter/>" + days), "MalformedXML", ""},
		{"two predicates", lifecycleXML(enabled + "<Filter><Prefix>a</Prefix><ObjectSizeLessThan>9</ObjectSizeLessThan></Filter>" + days), "MalformedXML", ""},
		{"empty and", lifecycleXML(enabled + "<Filter><And/></Filter>" + days), "MalformedXML", ""},
		{"and beside prefix", lifecycleXML(enabled + "<Filter><Prefix>a</Prefix><And><Prefix>a</Prefix></And></Filter>" + days), "MalformedXML", ""},
		{"no action", lifecycleXML(enabled + "<Filter/>"), "InvalidRequest", ""},
		{"no days", lifecycleXML(enabled + "<Filter/><Expiration/>"), "MalformedXML", ""},
		{"days and date", lifecycleXML(enabled + "<Filter/><Expiration><Days>1</Days><Date>2030-01-01T00:00:00Z</Date></Expiration>"), "MalformedXML", ""},
		{"zero days", lifecycleXML(enabled + "<Filter/><Expiration><Days>0</Days></Expiration>"), "InvalidArgument", ""},
		{"negative days", lifecycleXML(enabled + "<Filter/><Expiration><Days>-1</Days></Expiration>"), "InvalidArgument", ""},
		{"days not a number", lifecycleXML(enabled + "<Filter/><Expiration><Days>1.5</Days></Expiration>"), "MalformedXML", ""},
		{"date not a date", lifecycleXML(enabled + "<Filter/><Expiration><Date>soon</Date></Expiration>"), "MalformedXML", ""},
		{"date at noon", lifecycleXML(enabled + "<Filter/><Expiration><Date>2030-01-01T12:00:00Z</Date></Expiration>"), "InvalidArgument", ""},
		{"abort at once", lifecycleXML(enabled + "<Filter/>" + abort("0")), "InvalidArgument", ""},
		{"abort without days", lifecycleXML(enabled + "<Filter/><AbortIncompleteMultipartUpload/>"), "MalformedXML", ""},
		{"abort by tag", lifecycleXML(enabled + "<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>" + abort("1")), "InvalidRequest", ""},
		{"abort by size", lifecycleXML(enabled + "<Filter><ObjectSizeLessThan>5</ObjectSizeLessThan></Filter>" + abort("1")), "InvalidRequest", ""},
		{"sizes", lifecycleXML(enabled + "<Filter><And><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>" + days), "InvalidArgument", ""},
		{"repeated tag", lifecycleXML(enabled + "<Filter><And><Tag><Key>a</Key><Value/></Tag><Tag><Key>a</Key><Value/></Tag></And></Filter>" + days), "InvalidTag", ""},
		{"repeated ID", lifecycleXML("<ID>a</ID>"+enabled+"<Filter/>"+days, "<ID>a</ID>"+enabled+"<Filter/>"+days), "InvalidArgument", ""},
		{"long ID", lifecycleXML("<ID>" + strings.Repeat("i", 256) + "</ID>" + enabled + "<Filter/>" + days), "InvalidArgument", ""},
		{"too many rules", lifecycleXML(slices.Repeat([]string{enabled + "<Filter/>" + days}, 1001)...), "MalformedXML", ""},
		{"transition", lifecycleXML(enabled + "<Filter/><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"), "NotImplemented", "Transition"},
		{"noncurrent expiration", lifecycleXML(enabled + "<Filter/><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"), "NotImplemented", "NoncurrentVersionExpiration"},
		{"noncurrent transition", lifecycleXML(enabled + "<Filter/><NoncurrentVersionTransition/>" + days), "NotImplemented", "NoncurrentVersionTransition"},
		{"delete markers", lifecycleXML(enabled + "<Filter/><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), "NotImplemented", "ExpiredObjectDeleteMarker"},
		{"deep", strings.Repeat("<LifecycleConfiguration>", 100_000), "MalformedXML", ""},
		{"entity", "<!DOCTYPE x [<!ENTITY e 'x'>]>" + lifecycleXML(enabled+"<Filter/>"+days), "MalformedXML", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := do(h, "PUT", "/bucket?lifecycle", test.body)
			if got := w.Body.String(); !strings.Contains(got, "<Code>"+test.code+"</Code>") || !strings.Contains(got, test.names) {
				t.Errorf("answer %s, want code %s naming %q", got, test.code, test.names)
			}
		})
	}
	if w := do(h, "GET", "/bucket?lifecycle", ""); !strings.Contains(w.Body.String(), "NoSuchLifecycleConfiguration") {
		t.Errorf("after refusals only: %s", w.Body)
	}
}

func TestClientLifecycle(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	ctx, bucket := t.Context(), aws.String("bucket")
	get := func() (*s3.GetBucketLifecycleConfigurationOutput, error) {
		return c.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: bucket})
	}
	_, err := get()
	wantCode(t, "GetBucketLifecycleConfiguration of none", err, "NoSuchLifecycleConfiguration")
	rules := []types.LifecycleRule{
		{
			ID: aws.String("logs"), Status: types.ExpirationStatusEnabled,
			Filter: &types.LifecycleRuleFilter{And: &types.LifecycleRuleAndOperator{
				Prefix: aws.String("logs/"), ObjectSizeGreaterThan: aws.Int64(0), ObjectSizeLessThan: aws.Int64(1 << 30),
				Tags: []types.Tag{{Key: aws.String("b"), Value: aws.String("2")}, {Key: aws.String("a"), Value: aws.String("1")}},
			}},
			Expiration: &types.LifecycleExpiration{Days: aws.Int32(30)},
		},
		{
			ID: aws.String("uploads"), Status: types.ExpirationStatusDisabled, Filter: &types.LifecycleRuleFilter{},
			AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(3)},
		},
		{
			ID: aws.String("date"), Status: types.ExpirationStatusEnabled, Prefix: aws.String("tmp/"),
			Expiration: &types.LifecycleExpiration{Date: aws.Time(time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC))},
		},
	}
	_, err = c.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
		Bucket: bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: rules},
	})
	if err != nil {
		t.Fatalf("PutBucketLifecycleConfiguration: %v", err)
	}
	out, err := get()
	if err != nil {
		t.Fatalf("GetBucketLifecycleConfiguration: %v", err)
	}
	if diff := cmp.Diff(rules, out.Rules, cmpopts.IgnoreUnexported(
		types.LifecycleRule{}, types.LifecycleRuleFilter{}, types.LifecycleRuleAndOperator{}, types.Tag{},
		types.LifecycleExpiration{}, types.AbortIncompleteMultipartUpload{},
	)); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if out.TransitionDefaultMinimumObjectSize != "all_storage_classes_128K" {
		t.Errorf("default minimum size %q", out.TransitionDefaultMinimumObjectSize)
	}
	if _, err := c.DeleteBucketLifecycle(ctx, &s3.DeleteBucketLifecycleInput{Bucket: bucket}); err != nil {
		t.Errorf("DeleteBucketLifecycle: %v", err)
	}
	_, err = get()
	wantCode(t, "GetBucketLifecycleConfiguration after the delete", err, "NoSuchLifecycleConfiguration")
}
