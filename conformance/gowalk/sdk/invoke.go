package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"

	"github.com/deferd/deferd/conformance/gowalk/step"
)

type input = sagemakerruntime.InvokeEndpointAsyncInput

func fromS3(location string) *input { return &input{InputLocation: &location} }

func (w *walk) invoke(in *input) (*sagemakerruntime.InvokeEndpointAsyncOutput, error) {
	in.EndpointName = &w.name
	out, err := w.runtime.InvokeEndpointAsync(w.ctx, in)
	if err != nil {
		return nil, err
	}
	if in.InferenceId != nil {
		return out, step.Equal("inference ID", *out.InferenceId, *in.InferenceId)
	}
	if aws.ToString(out.InferenceId) == "" {
		return nil, errors.New("there is no inference ID")
	}
	return out, nil
}

// answers invokes the endpoint and waits for its output.
func (w *walk) answers(in *input, want, contentType string) error {
	out, err := w.invoke(in)
	if err != nil {
		return err
	}
	return w.awaits(*out.OutputLocation, want, contentType)
}

func (w *walk) invokeS3() error {
	plain, err := w.put("in/plain.json", "", `{"a": 1}`)
	if err != nil {
		return err
	}
	typed, err := w.put("in/typed.csv", "text/csv", "1,2,3")
	if err != nil {
		return err
	}
	out, err := w.invoke(fromS3(w.location("in/large")))
	if err != nil {
		return err
	}
	w.largeOutput = *out.OutputLocation
	return errors.Join(
		w.answers(&input{InputLocation: &plain, ContentType: aws.String("application/json")}, `{"a": 1}`, "application/json"),
		w.answers(fromS3(typed), "1,2,3", "text/csv"),
		w.answers(&input{
			InputLocation: &typed, InferenceId: aws.String("chosen by the caller"), RequestTTLSeconds: aws.Int32(60),
		}, "1,2,3", "text/csv"),
	)
}

func (w *walk) invokeInline() error {
	largest := make([]byte, 128_000)
	rand.New(rand.NewSource(1)).Read(largest)
	return errors.Join(
		w.answers(&input{
			Body: []byte("inline"), ContentType: aws.String("text/plain"), InferenceId: aws.String("chosen by the caller"),
		}, "inline", "text/plain"),
		w.answers(&input{
			Body: largest, ContentType: aws.String("application/octet-stream"),
		}, string(largest), "application/octet-stream"),
	)
}

func (w *walk) invokeNamed() error {
	in := &input{
		Body: []byte("named"), ContentType: aws.String("text/plain"), Accept: aws.String("text/plain"),
		CustomAttributes:      aws.String("delay=10ms&attributes=from the model"),
		S3OutputPathExtension: aws.String("team/a"), Filename: aws.String("result.txt"),
		RequestTTLSeconds: aws.Int32(60), InvocationTimeoutSeconds: aws.Int32(30),
	}
	out, err := w.invoke(in)
	if err != nil {
		return err
	}
	if err := step.Equal("output", *out.OutputLocation, w.location("out/team/a/result.txt")); err != nil {
		return err
	}
	if err := w.awaits(*out.OutputLocation, "named", "text/plain"); err != nil {
		return err
	}
	head, err := w.s3.HeadObject(w.ctx, &s3.HeadObjectInput{Bucket: &w.bucket, Key: aws.String("out/team/a/result.txt")})
	if err != nil {
		return err
	}
	if err := step.Equal("custom attributes", head.Metadata["custom-attributes"], "from the model"); err != nil {
		return err
	}
	in.Filename = nil
	if out, err = w.invoke(in); err != nil {
		return err
	}
	return errors.Join(
		step.Contains("output", *out.OutputLocation, w.location("out/team/a/")),
		w.awaits(*out.OutputLocation, "named", "text/plain"),
	)
}

func (w *walk) poll() error {
	in := &input{Body: []byte("later"), ContentType: aws.String("text/plain"), CustomAttributes: aws.String("delay=1s")}
	out, err := w.invoke(in)
	if err != nil {
		return err
	}
	err = errors.Join(w.missing(*out.OutputLocation), w.awaits(*out.OutputLocation, "later", "text/plain"))
	if err != nil {
		return err
	}
	if out, err = w.invoke(in); err != nil {
		return err
	}
	where, key := split(*out.OutputLocation)
	return s3.NewObjectExistsWaiter(w.s3).Wait(w.ctx, &s3.HeadObjectInput{Bucket: &where, Key: &key}, step.Patience)
}

func (w *walk) failure() error {
	for _, status := range []string{"400", "500"} {
		out, err := w.invoke(&input{
			Body: []byte(`{"why": 1}`), ContentType: aws.String("application/json"), CustomAttributes: aws.String("status=" + status),
		})
		if err != nil {
			return err
		}
		err = errors.Join(w.awaits(*out.FailureLocation, `{"why": 1}`, "application/json"), w.missing(*out.OutputLocation))
		if err != nil {
			return fmt.Errorf("status %s: %w", status, err)
		}
	}
	out, err := w.invoke(fromS3(w.location("in/nothing")))
	if err != nil {
		return err
	}
	text, _, err := w.get(*out.FailureLocation)
	if err != nil {
		return err
	}
	return step.Contains("failure object", text, "NoSuchKey")
}

func (w *walk) refusals() error {
	body, plain := []byte("x"), w.location("in/plain.json")
	for _, c := range []struct {
		in      input
		message string
	}{
		{in: input{Body: body, InputLocation: &plain}},
		{in: input{}},
		{in: input{Body: make([]byte, 128_001)}},
		{input{EndpointName: aws.String("nobody"), Body: body}, "Endpoint nobody of account " + step.Account + " not found."},
		{input{Body: body, InferenceId: aws.String(strings.Repeat("i", 65))}, "inferenceId"},
		{input{Body: body, Filename: aws.String("a.b.c")}, "filename"},
		{input{Body: body, S3OutputPathExtension: aws.String("s3:x")}, "s3OutputPathExtension"},
		{input{InputLocation: aws.String("ftp://host/file")}, "inputLocation"},
		{input{Body: body, RequestTTLSeconds: aws.Int32(59)}, "greater than or equal to 60"},
		{input{Body: body, InvocationTimeoutSeconds: aws.Int32(3601)}, "less than or equal to 3600"},
	} {
		if c.in.EndpointName == nil {
			c.in.EndpointName = &w.name
		}
		_, err := w.runtime.InvokeEndpointAsync(w.ctx, &c.in)
		if err := refused(err, "ValidationError", c.message); err != nil {
			return fmt.Errorf("%q: %w", c.message, err)
		}
	}
	_, plainly := w.runtime.InvokeEndpoint(w.ctx, &sagemakerruntime.InvokeEndpointInput{EndpointName: &w.name, Body: body})
	_, streaming := w.runtime.InvokeEndpointWithResponseStream(w.ctx, &sagemakerruntime.InvokeEndpointWithResponseStreamInput{
		EndpointName: &w.name, Body: bytes.Clone(body),
	})
	_, again := w.createModel(w.name)
	return errors.Join(
		refused(plainly, "ValidationError", "does not support this inference type"),
		refused(streaming, "ValidationError", "does not support this inference type"),
		refused(again, "ValidationException", ""),
	)
}
