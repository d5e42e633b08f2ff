package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/sigv4"
)

// prepareKeys makes the account's first access key, or checks that it is the
// one in the credentials file, and ends the keys of instances that did not
// survive the server. Sessions of roles go on until they expire.
func (srv *server) prepareKeys(ctx context.Context) error {
	account := deferd.AccountID(srv.settings.Account)
	keys, err := srv.store.AccessKeys(ctx, account)
	if err != nil {
		return err
	}
	path := filepath.Join(srv.settings.Data, credentialsFile)
	_, err = os.Stat(path)
	made := err == nil
	if made {
		if err := srv.checkCredentials(ctx, keys); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if k.Token == "" || !k.Expires.IsZero() {
			continue
		}
		if err := srv.store.DeleteKey(ctx, k.ID); err != nil {
			return err
		}
	}
	if made {
		return nil
	}
	k, secret := srv.keys.NewKey(account, "arn:aws:iam::"+srv.settings.Account+":root")
	if err := srv.store.PutKey(ctx, k); err != nil {
		return err
	}
	if err := writeCredentials(path, k.ID, secret); err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	srv.log.InfoContext(ctx, "made an access key", "file", path)
	return nil
}

// forgetKey is told of an access key that was deleted. Where it is the one in
// the credentials file, that goes with it, and the next start makes another.
func (srv *server) forgetKey(id string) {
	srv.keys.Forget(id)
	path := filepath.Join(srv.settings.Data, credentialsFile)
	kept, _, err := readCredentials(path)
	if err != nil || kept != id {
		return
	}
	if err := os.Remove(path); err != nil {
		srv.log.Error("the credentials file of a deleted access key could not be removed", "file", path, "err", err)
	}
}

// instanceEnv gives each instance keys for S3 that end with it, as on SageMaker
// it has those of its execution role. Nil where that is turned off.
func (srv *server) instanceEnv() func(context.Context, deferd.Model, deferd.InstanceID) (map[string]string, func(context.Context), error) {
	if srv.embedded == nil || !srv.settings.InstanceCredentials {
		return nil
	}
	return func(ctx context.Context, m deferd.Model, id deferd.InstanceID) (map[string]string, func(context.Context), error) {
		arn := m.RoleARN
		if arn == "" {
			arn = "arn:aws:iam::" + string(m.Account) + ":root"
		}
		k, secret := srv.keys.NewSession(m.Account, arn, "s3")
		if err := srv.store.PutKey(ctx, k); err != nil {
			return nil, nil, err
		}
		revoke := func(ctx context.Context) {
			if err := srv.store.DeleteKey(ctx, k.ID); err != nil {
				srv.log.ErrorContext(ctx, "an instance's keys could not be deleted", "instance", id, "err", err)
			}
			srv.keys.Forget(k.ID)
		}
		return map[string]string{
			"AWS_ACCESS_KEY_ID": k.ID, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": k.Token,
			"AWS_REGION": srv.settings.region(), "AWS_DEFAULT_REGION": srv.settings.region(), "AWS_ENDPOINT_URL": srv.url,
		}, revoke, nil
	}
}

// sessionKey makes an access key for somebody who assumes a role.
func (srv *server) sessionKey(account deferd.AccountID, arn string) (deferd.AccessKey, string) {
	return srv.keys.NewSession(account, arn, "")
}

// key finds what a signature is checked with.
func (srv *server) key(ctx context.Context, id string) (sigv4.Key, error) {
	k, secret, err := srv.keys.Lookup(ctx, srv.store, id)
	if err != nil {
		return sigv4.Key{}, err
	}
	return sigv4.Key{
		ID: k.ID, Secret: secret, Token: k.Token, Expires: k.Expires, Service: k.Service,
		Principal: deferd.Principal{Account: k.Account, ARN: k.ARN, AccessKey: k.ID},
	}, nil
}
