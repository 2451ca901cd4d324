// Package lambda invokes an AWS Lambda function with each event's JSON. It makes no
// call before the first delivery, does not retry, and does not read what the function
// returns beyond whether it failed.
package lambda

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/schema"
)

// maxPayload is what both ways to invoke a function have always taken; the limits are
// higher today (https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html).
const maxPayload = 256_000

// Kind is the Lambda output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "awslambda",
		Block:   "aws.lambda",
		Enabler: "functionname",
		Logs:    false,
		Settings: append([]outputs.Setting{
			{Key: "functionname", Usage: "name or ARN of the function, with :version or :alias if wanted; turns the output on"},
			{Key: "invocationtype", Default: string(types.InvocationTypeRequestResponse), Usage: "RequestResponse waits for the function; Event leaves it, and its retries, to Lambda"},
		}, awsconfig.Settings()...),
		Limits: outputs.Limits{BatchEvents: 1, Timeout: 30 * time.Second},
		New:    newOutput,
	}
}

var functionName = regexp.MustCompile(`^[a-zA-Z0-9:$_-]+$`)

const maxName = 200

type output struct {
	put      awsconfig.Operation[lambda.InvokeInput, lambda.InvokeOutput, lambda.Options]
	function string
	way      types.InvocationType
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	o := &output{function: v.String("functionname"), way: types.InvocationType(v.String("invocationtype"))}
	if !functionName.MatchString(o.function) || len(o.function) > maxName {
		return nil, fmt.Errorf("%s: %q is not a name of a function", v.Name("functionname"), o.function)
	}
	if o.way != types.InvocationTypeRequestResponse && o.way != types.InvocationTypeEvent {
		return nil, fmt.Errorf("%s: %q is neither RequestResponse nor Event", v.Name("invocationtype"), o.way)
	}
	cfg, err := awsconfig.Load(v)
	if err != nil {
		return nil, err
	}
	o.put = lambda.NewFromConfig(cfg).Invoke
	return o, nil
}

// Deliver implements outputs.Output.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Each(ctx, batch, o.invoke)
}

func (o *output) invoke(ctx context.Context, e *schema.Event) error {
	body, err := e.Body()
	if err != nil {
		return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode event: %w", err)}
	}
	out, err := o.put(ctx, &lambda.InvokeInput{
		FunctionName: &o.function, InvocationType: o.way, Payload: clip.JSON(body, maxPayload),
	})
	if err != nil {
		return awsconfig.Failure("Lambda", err, nil)
	}
	// The payload then holds the function's own error, which may repeat the event.
	if aws.ToString(out.FunctionError) != "" {
		return &outputs.Error{Class: outputs.Transient, Err: errors.New("invoke Lambda: the function failed")}
	}
	return nil
}
