package aws

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// Parameters makes a source of one parameter of Systems Manager, or, if name ends in
// "/", of all below that path. They may be SecureStrings.
func Parameters(config sdk.Config, name string, interval time.Duration, log *slog.Logger) *Source {
	client := ssm.NewFromConfig(config)
	var p place = parameter{name: name, get: client.GetParameter}
	if strings.HasSuffix(name, "/") {
		p = parameterPath{path: name, get: client.GetParametersByPath}
	}
	return &Source{place: p, interval: interval, log: log}
}

// parameter is one parameter.
type parameter struct {
	name string
	get  awsconfig.Operation[ssm.GetParameterInput, ssm.GetParameterOutput, ssm.Options]
}

// String implements place.
func (p parameter) String() string { return "ssm:" + p.name }

func (p parameter) look(ctx context.Context) ([]policies.Text, error) {
	answer, err := p.get(ctx, &ssm.GetParameterInput{Name: &p.name, WithDecryption: sdk.Bool(true)})
	if _, absent := errors.AsType[*types.ParameterNotFound](err); absent {
		return nil, errAbsent
	}
	if err != nil {
		return nil, failure("SSM", err)
	}
	return []policies.Text{{Place: p.String(), Body: sdk.ToString(answer.Parameter.Value)}}, nil
}

// parameterPath is all parameters below a path.
type parameterPath struct {
	path string // ends in "/"
	get  awsconfig.Operation[ssm.GetParametersByPathInput, ssm.GetParametersByPathOutput, ssm.Options]
}

// String implements place.
func (p parameterPath) String() string { return "ssm:" + p.path }

func (p parameterPath) look(ctx context.Context) ([]policies.Text, error) {
	input := &ssm.GetParametersByPathInput{Path: sdk.String(strings.TrimRight(p.path, "/")), Recursive: sdk.Bool(true), WithDecryption: sdk.Bool(true)}
	if *input.Path == "" {
		input.Path = sdk.String("/")
	}
	texts := []policies.Text{}
	for {
		page, err := p.get(ctx, input)
		if err != nil {
			return nil, failure("SSM", err)
		}
		for _, found := range page.Parameters {
			texts = append(texts, policies.Text{Place: "ssm:" + sdk.ToString(found.Name), Body: sdk.ToString(found.Value)})
		}
		if len(texts) > maxTexts {
			return nil, tooMany("parameters")
		}
		if sdk.ToString(page.NextToken) == "" {
			break
		}
		input.NextToken = page.NextToken
	}
	slices.SortFunc(texts, func(a, b policies.Text) int { return strings.Compare(a.Place, b.Place) })
	return texts, nil
}
