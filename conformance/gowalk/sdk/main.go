// Command sdk walks through SageMaker Asynchronous Inference with
// aws-sdk-go-v2, as its users do.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"

	"github.com/deferd/deferd/conformance/gowalk/step"
)

func main() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	w := &walk{
		ctx: ctx, cfg: cfg, name: step.Name(), bucket: step.Name(),
		control: sagemaker.NewFromConfig(cfg), runtime: sagemakerruntime.NewFromConfig(cfg), s3: s3.NewFromConfig(cfg),
	}
	w.transfer = transfermanager.New(w.s3)
	step.Run("aws-sdk-go-v2", step.Version("github.com/aws/aws-sdk-go-v2"), []step.Step{
		{Name: "identity", Run: w.identity},
		{Name: "create", Run: w.create},
		{Name: "wait", Run: w.wait},
		{Name: "upload", Run: w.upload},
		{Name: "invoke-s3", Run: w.invokeS3},
		{Name: "invoke-inline", Run: w.invokeInline},
		{Name: "invoke-named", Run: w.invokeNamed},
		{Name: "poll", Run: w.poll},
		{Name: "failure", Run: w.failure},
		{Name: "refusals", Run: w.refusals},
		{Name: "presign", Run: w.presign},
		{Name: "list", Run: w.list},
		{Name: "tags", Run: w.tags},
		{Name: "update", Run: w.update},
		{Name: "download", Run: w.download},
		{Name: "copy", Run: w.copy},
		{Name: "delete-objects", Run: w.deleteObjects},
		{Name: "delete", Run: w.delete},
	})
}

// A walk is a user with the SDK's clients, made from the environment.
type walk struct {
	ctx          context.Context
	cfg          aws.Config
	name, bucket string

	control  *sagemaker.Client
	runtime  *sagemakerruntime.Client
	s3       *s3.Client
	transfer *transfermanager.Client

	largeOutput string // where the answer to the large input will be
}
