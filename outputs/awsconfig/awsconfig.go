// Package awsconfig makes of the settings that the outputs on AWS share a
// configuration of the SDK, and classes of failures of what the SDK gives as
// errors. It calls no service.
package awsconfig

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
)

// maxAnswer bounds what is read of an answer. The longest that means something
// here are credentials of a few kilobytes.
const maxAnswer = 1 << 20

// Settings are those of the aws block. An output on AWS lists them among its
// own.
func Settings() []outputs.Setting {
	return []outputs.Setting{
		{Block: "aws", Key: "region", Usage: "region; by default what AWS_DEFAULT_REGION or the AWS configuration file say"},
		{Block: "aws", Key: "accesskeyid", Usage: "access key id; by default the credentials of the task, the pod or the AWS configuration"},
		{Block: "aws", Key: "secretaccesskey", Secret: true, Usage: "secret access key that belongs to the id"},
		{Block: "aws", Key: "rolearn", Usage: "role to assume"},
		{Block: "aws", Key: "externalid", Usage: "external id to assume the role with"},
	}
}

// Operation is one operation of a client of the SDK. Outputs keep those that they
// use instead of the client: of what an output holds the linker keeps all methods, and
// with them whole services (10 MB of the sidekick for seven of them).
type Operation[In, Out, Options any] func(context.Context, *In, ...func(*Options)) (*Out, error)

// Load makes the configuration without using the network: it reads the
// environment and the AWS configuration files, if there are any. Clients made
// of it do not retry: the dispatcher does, and knows about shutdown.
func Load(v outputs.Values) (aws.Config, error) {
	id, key := v.String("accesskeyid"), v.String("secretaccesskey")
	if (id == "") != (key == "") {
		return aws.Config{}, fmt.Errorf("%s and %s: give both or none", v.Name("accesskeyid"), v.Name("secretaccesskey"))
	}
	var options []func(*config.LoadOptions) error
	if region := v.String("region"); region != "" {
		options = append(options, config.WithRegion(region))
	}
	if id != "" {
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(id, key, "")))
	}
	// Without options that ask for it, loading does no network I/O, so there is
	// nothing for a context to end.
	cfg, err := config.LoadDefaultConfig(context.Background(), options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("read AWS configuration: %w", httppost.Redact(err))
	}
	if cfg.Region == "" {
		return aws.Config{}, fmt.Errorf("%s: no region is given", v.Name("region"))
	}
	cfg.HTTPClient = httpClient(cfg.HTTPClient)
	if err := assumeRole(&cfg, v); err != nil {
		return aws.Config{}, err
	}
	cfg.Logger = logging.Nop{} // its own writes to stderr
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return cfg, nil
}

// httpClient is the client of the other outputs, with the certificates that
// AWS_CA_BUNDLE names: those the SDK adds to a client of its own kind only,
// which would follow redirects and read answers without end.
func httpClient(sdk aws.HTTPClient) *http.Client {
	transport := httppost.NewTransport()
	if b, ok := sdk.(*awshttp.BuildableClient); ok {
		if c := b.GetTransport().TLSClientConfig; c != nil && c.RootCAs != nil {
			transport.TLSClientConfig = &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12}
		}
	}
	return &http.Client{
		Transport:     httppost.Bound(transport, maxAnswer),
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// assumeRole makes cfg use the role that is asked for, unless it does so
// already: in a pod with a service account of that role (IRSA) the default
// credentials are the role's, and a role may usually not assume itself.
func assumeRole(cfg *aws.Config, v outputs.Values) error {
	role := v.String("rolearn")
	if role == "" {
		if v.String("externalid") != "" {
			return fmt.Errorf("%s is of no use without %s", v.Name("externalid"), v.Name("rolearn"))
		}
		return nil
	}
	env, err := config.NewEnvConfig()
	if err != nil {
		return fmt.Errorf("read AWS environment: %w", errors.New("it holds a value that the AWS SDK cannot read"))
	}
	if env.WebIdentityTokenFilePath != "" && env.RoleARN == role {
		return nil
	}
	provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(*cfg), role, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "sidearmor"
		if id := v.String("externalid"); id != "" {
			o.ExternalID = &id
		}
	})
	cfg.Credentials = aws.NewCredentialsCache(provider)
	return nil
}
