package awsconfig

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
)

// Failure makes an *outputs.Error of an error of the SDK, without its text,
// which holds addresses and, for a wrong signature, the session token. service
// is named where the error does not name one.
func Failure(service string, err error, failed []int) *outputs.Error {
	class, wait := classify(err)
	return &outputs.Error{Class: class, RetryAfter: wait, Failed: failed, Err: describe(service, err)}
}

func classify(err error) (outputs.Class, time.Duration) {
	class, wait := outputs.Transient, time.Duration(0)
	status := 0
	if re, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && re.Response != nil {
		status = re.HTTPStatusCode()
		wait = httppost.RetryAfter(re.Response.Header, time.Now())
	}
	if status != 0 {
		if c, ok := httppost.Judge(status); !ok {
			class = c
		}
	}
	if ae, ok := errors.AsType[smithy.APIError](err); ok {
		class = ClassOf(ae.ErrorCode(), class)
	}
	if class == outputs.Permanent {
		wait = 0
	}
	return class, wait
}

// ClassOf knows the codes that say more than their status, which is 400 for
// nearly all of them. A code that it does not know means what otherwise says.
func ClassOf(code string, otherwise outputs.Class) outputs.Class {
	switch {
	case strings.HasPrefix(code, "Throttl"), strings.HasPrefix(code, "TooManyRequests"), strings.HasPrefix(code, "RequestThrottl"),
		code == "RequestLimitExceeded", code == "SlowDown", code == "ProvisionedThroughputExceededException", code == "KMSThrottlingException":
		return outputs.RateLimited
	case strings.HasPrefix(code, "KMS"), strings.HasPrefix(code, "Kms"): // a key that is disabled or must not be used
		return outputs.Transient
	}
	switch code {
	case "ResourceNotFoundException", "NotFound", "NotFoundException", "QueueDoesNotExist", // made, but not to be seen yet
		"AWS.SimpleQueueService.NonExistentQueue", "InvalidAddress",
		"OperationAbortedException", "ResourceConflictException", // another task makes it at this moment
		"InvalidKMSResourceException", "InvalidSourceException", // settings of the stream
		"LimitExceededException", "InternalException", "InternalError",
		"ServiceUnavailableException", "ServiceUnavailable", "InternalFailure", "InternalServerError",
		"AccessDeniedException", "AccessDenied", "AuthorizationError", "UnrecognizedClientException", "InvalidClientTokenId",
		"InvalidSecurity", "InvalidAccessException",
		"ExpiredTokenException", "ExpiredToken", "InvalidSignatureException", "SignatureDoesNotMatch",
		"RequestExpired", "MissingAuthenticationTokenException", "IncompleteSignature", "NotAuthorized", "OptInRequired":
		return outputs.Transient
	case "InvalidParameterException", "ValidationException", "SerializationException",
		"InvalidMessageContents", "MalformedDetail", "InvalidArgument", "InvalidInput":
		return outputs.Permanent
	}
	return otherwise
}

func describe(service string, err error) error {
	operation := "use " + service
	if oe, ok := errors.AsType[*smithy.OperationError](err); ok {
		operation = oe.Service() + " " + oe.Operation()
	}
	ae, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return fmt.Errorf("%s: %w", operation, httppost.Redact(cause(err)))
	}
	return fmt.Errorf("%s: %w", operation, Reason(ae.ErrorCode(), ae.ErrorMessage()))
}

// Reason is what a service says of a failure, without addresses. The first line of a
// message says what is wrong; the ones after it repeat the request.
func Reason(code, message string) error {
	message, _, _ = strings.Cut(message, "\n")
	return httppost.Redact(errors.New(clip.Line(code, 80, nil) + ": " + clip.Line(message, 300, nil)))
}

// cause leaves out what the SDK puts around an error. A status without an
// error of the API comes from something in between: the status is all that can
// be relied on.
func cause(err error) error {
	if re, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && re.Response != nil && re.HTTPStatusCode() != 0 {
		code := re.HTTPStatusCode()
		return fmt.Errorf("answered %d %s", code, http.StatusText(code))
	}
	if oe, ok := errors.AsType[*smithy.OperationError](err); ok {
		return oe.Err
	}
	return err
}
