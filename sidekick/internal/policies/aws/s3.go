package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// maxObject is what the parser takes of one text.
const maxObject = 1 << 20

// ParseObject takes "s3://bucket/key" apart; a key that ends in "/" is a prefix.
func ParseObject(address string) (bucket, key string, err error) {
	rest, ok := strings.CutPrefix(address, "s3://")
	bucket, key, slash := strings.Cut(rest, "/")
	if !ok || !slash || bucket == "" {
		return "", "", fmt.Errorf("%q is not s3://bucket/key, or s3://bucket/prefix/", address)
	}
	return bucket, key, nil
}

// Objects makes a source of one object of S3, or, if key ends in "/" or is "", of all
// *.yaml, *.yml and *.json whose keys begin with it.
func Objects(config sdk.Config, bucket, key string, interval time.Duration, log *slog.Logger) *Source {
	client := s3.NewFromConfig(config)
	o := &objects{bucket: bucket, key: key, get: client.GetObject, list: client.ListObjectsV2, read: map[string]object{}}
	return &Source{place: o, interval: interval, log: log}
}

// objects is one object, or all with a prefix.
type objects struct {
	bucket, key string
	get         awsconfig.Operation[s3.GetObjectInput, s3.GetObjectOutput, s3.Options]
	list        awsconfig.Operation[s3.ListObjectsV2Input, s3.ListObjectsV2Output, s3.Options]
	read        map[string]object // by key: what was read, not to be read again
}

// object is what an object was when it was read.
type object struct{ etag, body string }

// String implements place.
func (o *objects) String() string { return o.place(o.key) }

func (o *objects) place(key string) string { return "s3://" + o.bucket + "/" + key }

func (o *objects) look(ctx context.Context) ([]policies.Text, error) {
	keys, many := map[string]string{o.key: ""}, o.key == "" || strings.HasSuffix(o.key, "/")
	if many {
		var err error
		if keys, err = o.keys(ctx); err != nil {
			return nil, err
		}
	}
	read, texts := map[string]object{}, make([]policies.Text, 0, len(keys))
	for key, etag := range keys {
		found := o.read[key]
		if etag == "" || etag != found.etag {
			var err error
			found, err = o.fetch(ctx, key, found)
			if many && errors.Is(err, errAbsent) { // since it was listed
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		read[key] = found
		texts = append(texts, policies.Text{Place: o.place(key), Body: found.body})
	}
	o.read = read
	slices.SortFunc(texts, func(a, b policies.Text) int { return strings.Compare(a.Place, b.Place) })
	return texts, nil
}

// keys gives the objects with the prefix, and their ETags.
func (o *objects) keys(ctx context.Context) (map[string]string, error) {
	keys := map[string]string{}
	input := &s3.ListObjectsV2Input{Bucket: &o.bucket, Prefix: &o.key}
	for {
		page, err := o.list(ctx, input)
		if err != nil {
			return nil, failure("S3", err)
		}
		for _, found := range page.Contents {
			if key := sdk.ToString(found.Key); wanted(key) {
				keys[key] = sdk.ToString(found.ETag)
			}
		}
		if len(keys) > maxTexts {
			return nil, tooMany("objects")
		}
		if !sdk.ToBool(page.IsTruncated) {
			return keys, nil
		}
		input.ContinuationToken = page.NextContinuationToken
	}
}

func wanted(key string) bool {
	return slices.ContainsFunc([]string{".yaml", ".yml", ".json"}, func(end string) bool { return strings.HasSuffix(key, end) })
}

// fetch reads an object, unless it is as it was.
func (o *objects) fetch(ctx context.Context, key string, before object) (object, error) {
	input := &s3.GetObjectInput{Bucket: &o.bucket, Key: &key}
	if before.etag != "" {
		input.IfNoneMatch = &before.etag
	}
	answer, err := o.get(ctx, input)
	if answered, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && answered.HTTPStatusCode() == http.StatusNotModified {
		return before, nil
	}
	if _, absent := errors.AsType[*types.NoSuchKey](err); absent {
		return object{}, errAbsent
	}
	if err != nil {
		return object{}, failure("S3", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxObject+1))
	switch {
	case err != nil:
		return object{}, failure("S3", err)
	case len(body) > maxObject:
		return object{}, fmt.Errorf("%s has more than %d bytes", o.place(key), maxObject)
	}
	return object{sdk.ToString(answer.ETag), string(body)}, nil
}
