package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/deferd/deferd/internal/process"
	"github.com/spf13/cobra"
)

// completionLimit is how long a shell waits for suggestions.
const completionLimit = time.Second

// completeFlag offers values of a flag.
func completeFlag(cmd *cobra.Command, flag string, values func(cmd *cobra.Command, begun string) []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return beginningWith(values(cmd, begun), begun), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag does not exist: a bug that every run would show
	}
}

func beginningWith(values []string, begun string) []string {
	return slices.DeleteFunc(values, func(v string) bool { return !strings.HasPrefix(v, begun) })
}

// completeEndpoints offers the names of endpoints, if a server says them soon.
func completeEndpoints(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && cmd.Name() != "delete" {
		return nil, cobra.ShellCompDirectiveDefault
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionLimit)
	defer cancel()
	cmd.SetContext(ctx)
	s, err := openSite(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := s.listEndpoints(ctx, begun, 100)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := []string{}
	for _, e := range list {
		if !slices.Contains(args, e.EndpointName) {
			names = append(names, e.EndpointName)
		}
	}
	return beginningWith(names, begun), cobra.ShellCompDirectiveNoFileComp
}

// completeImages offers the images of the server on this machine.
func completeImages(cmd *cobra.Command, _ string) []string {
	settings, err := readSettings(cmd)
	if err != nil {
		return nil
	}
	images, err := process.ReadImages(settings.Images)
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(images))
}

// completeLocations offers buckets and keys, as far as the next slash.
func completeLocations(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	if !strings.HasPrefix(begun, "s3://") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	const directive = cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	ctx, cancel := context.WithTimeout(context.Background(), completionLimit)
	defer cancel()
	cmd.SetContext(ctx)
	s, err := openSite(cmd)
	if err != nil {
		return nil, directive
	}
	bucket, key, deep := strings.Cut(strings.TrimPrefix(begun, "s3://"), "/")
	var found []string
	if !deep {
		all, err := s.objects().buckets(ctx)
		if err != nil {
			return nil, directive
		}
		for _, b := range all {
			found = append(found, "s3://"+aws.ToString(b.Name)+"/")
		}
		return beginningWith(found, begun), directive
	}
	for o, err := range s.objects().list(ctx, bucket, key, true) {
		if err != nil || len(found) == maxSuggested {
			break
		}
		found = append(found, "s3://"+bucket+"/"+o.Key)
	}
	return found, directive
}

// maxSuggested is how many objects are offered.
const maxSuggested = 200
