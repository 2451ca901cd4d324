// Package securityhub imports events into AWS Security Hub as findings of the AWS
// Security Finding Format. It makes no call before the first delivery, never updates
// or archives a finding, and does not retry.
package securityhub

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/securityhub"
	"github.com/aws/aws-sdk-go-v2/service/securityhub/types"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/outputs/internal/awsbatch"
	"github.com/sidearmor/sidearmor/schema"
)

// Limits of BatchImportFindings
// (https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchImportFindings.html).
// A finding may have 240 KB; the bounds of its texts keep it below maxFinding.
const (
	maxEntries = 100
	maxFinding = 50 << 10
	maxBytes   = 5 << 20
)

// Kind is the Security Hub output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "awssecurityhub",
		Block:   "aws.securityhub",
		Enabler: "accountid",
		Logs:    false,
		Settings: append([]outputs.Setting{
			{Key: "accountid", Usage: "id of the AWS account that the sidekick runs in; turns the output on"},
			{Key: "productarn", Usage: "ARN of the product that findings are of; the account's default product when empty"},
		}, awsconfig.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: maxEntries,
			BatchBytes:  4 << 20,
			BatchDelay:  time.Second,
			Timeout:     30 * time.Second,
		},
		New: newOutput,
	}
}

var (
	accountID  = regexp.MustCompile(`^[0-9]{12}$`)
	productARN = regexp.MustCompile(`^arn:[a-z-]+:securityhub:[a-z0-9-]+:[0-9]{0,12}:product/[a-z0-9-]+/[a-z0-9-]+$`)
)

type sender struct {
	put    awsconfig.Operation[securityhub.BatchImportFindingsInput, securityhub.BatchImportFindingsOutput, securityhub.Options]
	origin origin
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	s := &sender{origin: origin{account: v.String("accountid"), product: v.String("productarn")}}
	if !accountID.MatchString(s.origin.account) {
		return nil, fmt.Errorf("%s: %q has not the 12 digits of an account", v.Name("accountid"), s.origin.account)
	}
	if s.origin.product != "" && !productARN.MatchString(s.origin.product) {
		return nil, fmt.Errorf("%s: %q is not the ARN of a product", v.Name("productarn"), s.origin.product)
	}
	cfg, err := awsconfig.Load(v)
	if err != nil {
		return nil, err
	}
	s.origin.region, s.origin.partition = cfg.Region, partition(cfg.Region)
	if s.origin.product == "" {
		s.origin.product = fmt.Sprintf("arn:%s:securityhub:%s:%s:product/%[3]s/default", s.origin.partition, cfg.Region, s.origin.account)
	}
	s.put = securityhub.NewFromConfig(cfg).BatchImportFindings
	return &awsbatch.API{
		// Findings are made where they are sent; a body would be a second form of them.
		Service: "Security Hub", Entries: maxEntries, Bytes: maxBytes, Overhead: maxFinding,
		Encode: func(*schema.Event) ([]byte, error) { return nil, nil }, Send: s.send,
	}, nil
}

// partition is the part of AWS that a region belongs to.
func partition(region string) types.Partition {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return types.PartitionAwsCn
	case strings.HasPrefix(region, "us-gov-"):
		return types.PartitionAwsUsGov
	}
	return types.PartitionAws
}

func (s *sender) send(ctx context.Context, request []awsbatch.Entry) ([]awsbatch.Fault, error) {
	in := &securityhub.BatchImportFindingsInput{Findings: make([]types.AwsSecurityFinding, len(request))}
	places := make(map[string]int, len(request))
	for i, e := range request {
		in.Findings[i] = s.origin.finding(e.Event)
		places[*in.Findings[i].Id] = i
	}
	out, err := s.put(ctx, in)
	if err != nil {
		return nil, err
	}
	return awsbatch.Named(out.FailedFindings, int(aws.ToInt32(out.SuccessCount)), len(request), func(f types.ImportFindingsError) (*string, awsbatch.Fault) {
		fault := awsbatch.Fault{Code: aws.ToString(f.ErrorCode), Message: aws.ToString(f.ErrorMessage), Class: outputs.Transient}
		i, known := places[aws.ToString(f.Id)]
		if !known {
			return nil, fault
		}
		return awsbatch.Name(i), fault
	})
}
