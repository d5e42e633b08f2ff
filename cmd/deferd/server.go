package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/agent"
	"github.com/deferd/deferd/internal/dispatch"
	"github.com/deferd/deferd/internal/faulty"
	"github.com/deferd/deferd/internal/history"
	"github.com/deferd/deferd/internal/keyring"
	"github.com/deferd/deferd/internal/modeldata"
	"github.com/deferd/deferd/internal/objectserver"
	"github.com/deferd/deferd/internal/outbox"
	"github.com/deferd/deferd/internal/process"
	"github.com/deferd/deferd/internal/s3"
	"github.com/deferd/deferd/internal/scheduler"
	"github.com/deferd/deferd/internal/sqlite"
	"github.com/deferd/deferd/internal/telemetry"
	"github.com/deferd/deferd/internal/topics"
)

// A server is the parts of "deferd serve", wired together.
type server struct {
	settings Settings
	url      string // where clients on this machine find it
	log      *slog.Logger

	keys      *keyring.Keyring
	store     *sqlite.Store
	queue     deferd.Store        // the store as the parts that do the work see it
	faults    *faulty.Cue         // nil where nothing is to break on purpose
	embedded  *objectserver.Store // nil where another S3 is used
	objects   deferd.ObjectStore
	latencies *telemetry.Latencies
	history   *history.Recorder
	dispatch  *dispatch.Dispatch
	work      deferd.Work // the dispatch as agents see it
	runtime   *process.Runtime
	scheduler *scheduler.Scheduler
	logs      *dataLogs
	topics    *topics.Topics // nil where another SNS is used
	notifier  deferd.Notifier
	outbox    *outbox.Deliverer

	state   atomic.Pointer[string] // why it does not take work; nil while it does
	closers []func() error
}

// Why a server does not take work.
var (
	isStarting = "the server is starting"
	isStopping = "the server is stopping"
)

// build opens everything that a server needs. Nothing of it runs yet.
func build(ctx context.Context, s Settings, url string, log *slog.Logger) (srv *server, err error) {
	srv = &server{settings: s, url: url, log: log}
	srv.state.Store(&isStarting)
	defer func() {
		if err != nil {
			err = errors.Join(err, srv.close())
		}
	}()
	if err := makeDataDir(s.Data); err != nil {
		return srv, err
	}
	lock, err := lockData(s.Data)
	if err != nil {
		return srv, err
	}
	srv.closers = append(srv.closers, lock.Close)
	if err := checkDataDir(s); err != nil {
		return srv, err
	}
	if err := srv.orderFaults(); err != nil {
		return srv, err
	}
	srv.store, err = sqlite.Open(s.storeFile(), sqlite.Options{Logger: log, Machine: srv.machine()})
	if err != nil {
		return srv, err
	}
	srv.closers = append(srv.closers, srv.store.Close)
	srv.keys, err = keyring.Open(filepath.Join(s.Data, secretKeyFile), os.Getenv("DEFERD_SECRET_KEY"))
	if err != nil {
		return srv, err
	}
	srv.queue = srv.store
	if err := srv.openObjects(ctx); err != nil {
		return srv, err
	}
	srv.makeFaulty()
	if err := srv.prepareKeys(ctx); err != nil {
		return srv, err
	}
	srv.buildHistory()
	srv.queue = &workFeed{Store: srv.queue}
	srv.dispatch = dispatch.New(dispatch.Config{
		Store: srv.queue, Objects: srv.objects, Logger: log, HoldClaims: srv.embedded != nil, Finished: srv.history.Finished,
		Notice: (&noticeMaker{store: srv.queue, region: s.region()}).notice,
	})
	srv.work = srv.history.Work(srv.dispatch)
	if err := srv.openNotifier(ctx); err != nil {
		return srv, err
	}
	srv.buildOutbox()
	if err := srv.buildRuntime(); err != nil {
		return srv, err
	}
	srv.logs = &dataLogs{dir: filepath.Join(s.Data, "logs"), now: srv.store.Now}
	srv.closers = append(srv.closers, srv.logs.close)
	srv.scheduler = scheduler.New(scheduler.Config{
		Store: srv.queue, Runtime: srv.runtime, Logger: log, NewAgent: srv.newAgent, Env: srv.instanceEnv(), History: s.History,
		ScalingPeriod: s.ScalingPeriod, MaxInstances: s.MaxInstances, Metrics: historyMetrics{srv.history},
	})
	srv.queue.OnWork(srv.scheduler.HasWork)
	return srv, nil
}

// close closes what build opened, the last first.
func (srv *server) close() error {
	var errs []error
	for _, c := range slices.Backward(srv.closers) {
		errs = append(errs, c())
	}
	srv.closers = nil
	return errors.Join(errs...)
}

func (srv *server) becomeReady() { srv.state.CompareAndSwap(&isStarting, nil) }
func (srv *server) refuseWork()  { srv.state.Store(&isStopping) }

// starting reports whether what an earlier life had decided may still have to
// be published.
func (srv *server) starting() bool { return srv.state.Load() == &isStarting }

// ready says whether the server takes work.
func (srv *server) ready() error {
	if why := srv.state.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

// openObjects opens the embedded S3, or another one.
func (srv *server) openObjects(ctx context.Context) error {
	s := srv.settings
	if s.S3 != embedded {
		if err := ignoreEndpointURLs(); err != nil {
			return err
		}
		external, err := s3.New(ctx, s3.Config{
			Endpoint: s.S3, Region: s.region(), PathStyle: !isAWS(s.S3),
			AccessKey: os.Getenv("DEFERD_S3_ACCESS_KEY_ID"), SecretKey: os.Getenv("DEFERD_S3_SECRET_ACCESS_KEY"),
			SessionToken: os.Getenv("DEFERD_S3_SESSION_TOKEN"),
		})
		if err != nil {
			return fmt.Errorf("open S3 at %s: %w", s.S3, err)
		}
		srv.objects = external
		return nil
	}
	store, err := objectserver.Open(filepath.Join(s.Data, "objects"), objectserver.Options{Region: s.region(), Account: s.Account, Logger: srv.log})
	if err != nil {
		return err
	}
	srv.closers = append(srv.closers, store.Close)
	srv.embedded, srv.objects = store, store
	return srv.prepareSDK(ctx)
}

// ignoreEndpointURLs keeps a shell that was set up by "deferd env" from steering
// the server at itself, even where it looks for its own credentials.
func ignoreEndpointURLs() error { return os.Setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true") }

func isAWS(s3URL string) bool {
	u, err := url.Parse(s3URL)
	return err == nil && strings.HasSuffix(u.Hostname(), ".amazonaws.com")
}

// prepareSDK makes what the SageMaker Python SDK looks for: its default bucket,
// and a configuration that keeps it from asking AWS for the bucket's name.
func (srv *server) prepareSDK(ctx context.Context) error {
	bucket := "sagemaker-" + srv.settings.region() + "-" + srv.settings.Account
	if err := srv.embedded.CreateBucket(ctx, bucket); err != nil && deferd.CodeOf(err) != deferd.Exists {
		return fmt.Errorf("create the bucket %s: %w", bucket, err)
	}
	text := "SchemaVersion: '1.0'\nSageMaker:\n  PythonSDK:\n    Modules:\n      Session:\n        DefaultS3Bucket: " + bucket + "\n"
	return writeFile(filepath.Join(srv.settings.Data, sdkConfigFile), text, 0o644)
}

func (srv *server) buildRuntime() error {
	images, err := process.LoadImages(srv.settings.Images)
	if err != nil {
		return err
	}
	fetcher := &modeldata.Fetcher{Objects: srv.objects}
	dir, err := filepath.Abs(srv.settings.Data)
	if err != nil {
		return err
	}
	srv.runtime, err = process.New(process.Options{
		Dir: dir, Images: images, Fetch: fetcher.Fetch, Install: dir, Logger: srv.log,
	})
	return err
}

// buildHistory has everything measured that goes through the queue.
func (srv *server) buildHistory() {
	srv.latencies = telemetry.NewLatencies(srv.store.EndpointByID, srv.store.Now)
	srv.history = history.New(history.Config{
		Store: srv.queue, Account: deferd.AccountID(srv.settings.Account), Logger: srv.log,
		Instances: func(id deferd.EndpointID) int { return srv.scheduler.AllInstances(id).Ready },
		Observe:   srv.latencies.Observe, Stored: srv.latencies.Stored, Act: srv.act,
	})
	srv.queue = srv.history.Store(srv.queue)
}

// newAgent makes the agent of an instance in this process.
func (srv *server) newAgent(i scheduler.Instance) scheduler.Agent {
	return agent.New(agent.Config{
		Work: srv.work, Session: i.Session, Addr: i.Addr, Gone: i.Gone, Exit: i.Exit,
		StartupTimeout: i.StartupTimeout, StopLimit: srv.settings.StopLimit, SlotWait: srv.slotWait(), Ready: i.Ready, Serve: i.Serve,
		Log:    srv.logs.of(i.Endpoint, i.Session.Variant, i.Session.Instance),
		Logger: srv.log.With("endpoint", i.Endpoint),
	})
}
