// Package s3 stores events in an Amazon S3 bucket, or one that speaks its
// protocol: one object for each batch, JSON lines packed with gzip. It makes no
// buckets and no call before the first delivery, and does not retry.
package s3

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/ocsf"
	"github.com/sidearmor/sidearmor/schema"
)

// noACL is the value by which objects get no ACL.
const noACL = "none"

// Kind is the S3 output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "awss3",
		Block:   "aws.s3",
		Enabler: "bucket",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "bucket", Usage: "name of the bucket; turns the output on"},
			{Key: "prefix", Usage: "what the keys begin with"},
			{Key: "endpoint", Usage: "address of another service that speaks S3's protocol; buckets are then part of the path"},
			{Key: "objectcannedacl", Default: string(types.ObjectCannedACLBucketOwnerFullControl), Usage: "ACL of the objects, as S3 names it; needs s3:PutObjectAcl; none for no ACL"},
			ocsf.Setting(),
		}, awsconfig.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: 10_000,
			BatchBytes:  4 << 20,
			BatchDelay:  10 * time.Second, // each object costs the same, however small
			Timeout:     30 * time.Second,
		},
		New: newOutput,
	}
}

// bucketName is the form of names that the API has allowed at any time, up to
// maxBucket characters
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html).
var bucketName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]+[a-zA-Z0-9]$`)

const maxBucket = 255

// maxPrefix leaves room for the rest of a key, which may have 1024 bytes.
const maxPrefix = 900

type output struct {
	store          awsconfig.Operation[s3.PutObjectInput, s3.PutObjectOutput, s3.Options]
	bucket, prefix string
	acl            types.ObjectCannedACL
	encode         func(*schema.Event) ([]byte, error)
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	o := &output{bucket: v.String("bucket"), prefix: strings.Trim(v.String("prefix"), "/")}
	if !bucketName.MatchString(o.bucket) || len(o.bucket) > maxBucket {
		return nil, fmt.Errorf("%s: %q is not a name of a bucket", v.Name("bucket"), o.bucket)
	}
	if len(o.prefix) > maxPrefix {
		return nil, fmt.Errorf("%s: has more than %d bytes", v.Name("prefix"), maxPrefix)
	}
	if o.prefix != "" {
		o.prefix += "/"
	}
	if acl := v.String("objectcannedacl"); acl != noACL {
		o.acl = types.ObjectCannedACL(acl)
		if !slices.Contains(o.acl.Values(), o.acl) {
			return nil, fmt.Errorf("%s: unknown value %q", v.Name("objectcannedacl"), acl)
		}
	}
	var err error
	if o.encode, err = ocsf.Encoder(v); err != nil {
		return nil, err
	}
	endpoint := v.String("endpoint")
	if endpoint != "" {
		if err := httppost.CheckURL(v.Name("endpoint"), endpoint); err != nil {
			return nil, err
		}
	}
	cfg, err := awsconfig.Load(v)
	if err != nil {
		return nil, err
	}
	// The default is a checksum behind the body, in chunks, which few other
	// services understand, and the transfer is protected by TLS.
	cfg.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	client := s3.NewFromConfig(cfg, func(options *s3.Options) {
		if endpoint != "" {
			options.BaseEndpoint, options.UsePathStyle = &endpoint, true
		}
	})
	o.store = client.PutObject
	return o, nil
}

// Deliver implements outputs.Output.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	p, err := o.pack(batch)
	if err != nil {
		return &outputs.Error{Class: outputs.Permanent, Err: err}
	}
	if p.events > 0 {
		if err := o.put(ctx, o.prefix+p.key, p.body); err != nil {
			return err
		}
	}
	if p.refused == nil {
		return nil
	}
	return &outputs.Error{Class: outputs.Permanent, Failed: p.failed, Err: fmt.Errorf("encode event: %w", p.refused)}
}

func (o *output) put(ctx context.Context, key string, body []byte) error {
	_, err := o.store(ctx, &s3.PutObjectInput{
		Bucket:      &o.bucket,
		Key:         &key,
		Body:        bytes.NewReader(body),
		ACL:         o.acl,
		ContentType: aws.String("application/gzip"),
	})
	if err == nil {
		return nil
	}
	e := awsconfig.Failure("S3", err, nil)
	// S3 does not look into objects. What it refuses, other than for its size,
	// it refuses for the bucket, the rights or the settings.
	if e.Class == outputs.Permanent && !permanent(err) {
		e.Class = outputs.Transient
	}
	return e
}

func permanent(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	// The SDK says BadRequest where there is no error document: then something
	// else has answered, and its status is all that is known.
	if ok && (api.ErrorCode() == "EntityTooLarge" || api.ErrorCode() == "BadRequest") {
		return true
	}
	status, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err)
	return ok && status.HTTPStatusCode() == http.StatusRequestEntityTooLarge
}

// object is a batch as it is stored.
type object struct {
	key     string // without the prefix
	body    []byte
	events  int
	failed  []int // indexes of events that cannot be encoded
	refused error // why
}

// pack makes an object. The same batch gives the same key, so that a batch that
// is delivered again replaces its object.
func (o *output) pack(batch []schema.Event) (object, error) {
	var p object
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	sum := sha256.New()
	for i := range batch {
		line, err := o.encode(&batch[i])
		if err != nil {
			p.failed, p.refused = append(p.failed, i), err
			continue
		}
		line = append(line, '\n')
		_, _ = sum.Write([]byte(batch[i].ID + "\n")) // two events may look the same
		_, _ = sum.Write(line)
		if _, err := z.Write(line); err != nil {
			return p, fmt.Errorf("pack events: %w", err)
		}
		if p.events == 0 {
			p.key = when(&batch[i]).UTC().Format("2006/01/02/20060102T150405.000Z-")
		}
		p.events++
	}
	if err := z.Close(); err != nil {
		return p, fmt.Errorf("pack events: %w", err)
	}
	p.key += hex.EncodeToString(sum.Sum(nil)[:8]) + ".ndjson.gz"
	p.body = b.Bytes()
	return p, nil
}

// when is the time that a key has: that of arrival, which nobody outside
// chooses.
func when(e *schema.Event) time.Time {
	if e.Received.IsZero() {
		return e.Time()
	}
	return e.Received
}
