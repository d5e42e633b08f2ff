package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

func credentialsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "credentials",
		Short: "Make, list and revoke access keys",
		Long: `Make, list and revoke access keys, by IAM's CreateAccessKey, ListAccessKeys and
DeleteAccessKey, which any AWS client can call as well. All keys of an
installation may do the same; one for each person or program can be revoked
alone.`,
		Example: `  deferd credentials create
  deferd credentials list
  deferd credentials revoke AKIAXXXXXXXXXXXXXXXX`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(createCredentialsCommand(), listCredentialsCommand(), revokeCredentialsCommand())
	return cmd
}

const iamVersion = "2010-05-08"

func createCredentialsCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an access key",
		Long: `Make an access key. Its secret is shown now and never again. With --file it is
written to an AWS credentials file instead, which only its owner may read.`,
		Example: `  deferd credentials create
  deferd credentials create --file alice.credentials
  deferd credentials create --output json`,
		Args: arguments(cobra.NoArgs),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		var made struct {
			AccessKey madeKey `xml:"CreateAccessKeyResult>AccessKey"`
		}
		if err := s.query(cmd.Context(), accessKeys, iamVersion, "CreateAccessKey", nil, &made); err != nil {
			return err
		}
		k := made.AccessKey
		if file != "" {
			if err := writeCredentials(file, k.ID, k.Secret); err != nil {
				return fmt.Errorf("the key %s was made, but its secret could not be kept; revoke it: %w", k.ID, err)
			}
			k.Secret, k.File = "", file
		}
		return k.print(cmd.OutOrStdout(), *format)
	}
	cmd.Flags().StringVar(&file, "file", "", "credentials file to write the key to")
	addSiteFlags(cmd)
	return cmd
}

// A madeKey is a new access key.
type madeKey struct {
	ID      string    `xml:"AccessKeyId" json:"accessKeyId"`
	Secret  string    `xml:"SecretAccessKey" json:"secretAccessKey,omitempty"`
	Created time.Time `xml:"CreateDate" json:"created"`
	File    string    `xml:"-" json:"file,omitempty"`
}

func (k madeKey) print(w io.Writer, f format) error {
	switch {
	case f == jsonFormat:
		return printJSON(w, k)
	case k.File != "":
		_, err := fmt.Fprintf(w, "%s is in %s: export AWS_SHARED_CREDENTIALS_FILE=%s\n", k.ID, k.File, quote(k.File))
		return err
	}
	_, err := fmt.Fprintf(w, "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n", quote(k.ID), quote(k.Secret))
	return err
}

// A listedKey is an access key as it is listed.
type listedKey struct {
	ID      string    `xml:"AccessKeyId" json:"accessKeyId"`
	Status  string    `xml:"Status" json:"status"`
	Created time.Time `xml:"CreateDate" json:"created"`
	Current bool      `xml:"-" json:"current"` // the one that asks
}

func listCredentialsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the access keys",
		Long:  "List the access keys. Those of model instances, which end with them, are not listed.",
		Example: `  deferd credentials list
  deferd credentials list --output json`,
		Args: arguments(cobra.NoArgs),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		keys, err := s.listKeys(cmd.Context())
		if err != nil {
			return err
		}
		if *format == jsonFormat {
			return printJSON(cmd.OutOrStdout(), keys)
		}
		t := newTable(cmd.OutOrStdout())
		fmt.Fprintln(t, "KEY\tSTATUS\tCREATED\t")
		for _, k := range keys {
			note := ""
			if k.Current {
				note = "this one"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", k.ID, k.Status, showTime(k.Created), note)
		}
		return t.Flush()
	}
	addSiteFlags(cmd)
	return cmd
}

// listKeys lists the caller's access keys.
func (s *site) listKeys(ctx context.Context) ([]listedKey, error) {
	own, err := s.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	all, params := []listedKey{}, url.Values{}
	for {
		var page struct {
			Result struct {
				Keys        []listedKey `xml:"AccessKeyMetadata>member"`
				IsTruncated bool
				Marker      string
			} `xml:"ListAccessKeysResult"`
		}
		if err := s.query(ctx, accessKeys, iamVersion, "ListAccessKeys", params, &page); err != nil {
			return nil, err
		}
		for _, k := range page.Result.Keys {
			k.Current = k.ID == own.AccessKeyID
			all = append(all, k)
		}
		if !page.Result.IsTruncated {
			return all, nil
		}
		params.Set("Marker", page.Result.Marker)
	}
}

func revokeCredentialsCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "revoke KEY...",
		Short: "End access keys",
		Long: `End access keys. They are refused at once; other servers on the same store take
up to a minute. The last key cannot be ended.`,
		Example: `  deferd credentials revoke AKIAXXXXXXXXXXXXXXXX
  deferd credentials revoke AKIAXXXXXXXXXXXXXXXX --yes`,
		Args: arguments(cobra.MinimumNArgs(1)),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := openSite(cmd)
		if err != nil {
			return err
		}
		revoked := []string{}
		for _, id := range args {
			if err = s.revoke(cmd, id, yes); err != nil {
				break
			}
			revoked = append(revoked, id)
		}
		return errors.Join(printDone(cmd.OutOrStdout(), *format, "revoked", revoked...), err)
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	addSiteFlags(cmd)
	return cmd
}

// revoke ends a key, after asking.
func (s *site) revoke(cmd *cobra.Command, id string, yes bool) error {
	question, local := "Revoke "+id+"?", s.keepsKey(id)
	if local {
		question = "Revoke " + id + ", which `deferd env` hands out? The server's next start makes another."
	}
	if err := confirm(cmd, yes, question); err != nil {
		return err
	}
	if err := s.query(cmd.Context(), accessKeys, iamVersion, "DeleteAccessKey", url.Values{"AccessKeyId": {id}}, nil); err != nil {
		return err
	}
	if local {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s was in %s, which is gone with it: the server's next start makes another\n", id, filepath.Join(s.data, credentialsFile))
	}
	return nil
}

// keepsKey reports whether a key is the one in the data directory.
func (s *site) keepsKey(id string) bool {
	if s.data == "" {
		return false
	}
	kept, _, err := readCredentials(filepath.Join(s.data, credentialsFile))
	return err == nil && kept == id
}
