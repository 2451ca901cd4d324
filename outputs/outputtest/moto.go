package outputtest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/sidearmor/sidearmor/outputs"
)

// AWS gives the settings that outputs on AWS share. The SDK asks the server at base,
// and is kept from looking for configuration and credentials on the machine.
func AWS(t testing.TB, base string) Settings {
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": base, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_ROLE_ARN": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "",
		"AWS_CA_BUNDLE": "", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "",
	} {
		t.Setenv(name, value)
	}
	return Settings{"region": "eu-central-1", "accesskeyid": "AKIAEXAMPLE", "secretaccesskey": Canary}
}

// AWSConfig makes clients of the SDK that look at what an emulator at base has.
func AWSConfig(base string) aws.Config {
	return aws.Config{
		Region: "eu-central-1", BaseEndpoint: &base,
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	}
}

// Moto starts an emulator of AWS as a process of its own, and gives its address.
func Moto(t testing.TB) string {
	t.Helper()
	binary, err := exec.LookPath("moto_server")
	if err != nil {
		// No package that CI could install has it; os.Getenv("CI") changes nothing.
		t.Skip("moto_server is not installed: the emulator is not tried, the stub is; CI=", os.Getenv("CI"))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	cmd := exec.Command(binary, "-H", "127.0.0.1", "-p", fmt.Sprint(port))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the command may be a wrapper
	if err := cmd.Start(); err != nil {
		t.Fatalf("moto_server does not start: %v", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if resp, err := http.Get(base + "/moto-api/"); err == nil {
			resp.Body.Close()
			return base
		}
		if time.Now().After(deadline) {
			t.Fatal("moto_server does not answer")
		}
	}
}

// AWSClasses are the statuses that outputs on AWS class in their own way: credentials
// are put right, and an answer without a body says nothing of what was taken, for
// those services whose answer does.
func AWSClasses(answerCounts bool) map[int]outputs.Class {
	classes := map[int]outputs.Class{http.StatusUnauthorized: outputs.Transient, http.StatusForbidden: outputs.Transient}
	if answerCounts {
		classes[http.StatusNoContent] = outputs.Transient
		for code := 100; code <= 199; code++ { // 200 comes behind them
			classes[code] = outputs.Transient
		}
	}
	return classes
}

// AWSRequest checks what all requests to AWS have and decodes the body of one in JSON.
func AWSRequest(t testing.TB, r *http.Request, target string, body []byte, into any) {
	t.Helper()
	if got := r.Header.Get("X-Amz-Target"); got != target {
		t.Errorf("operation %q, want %q", got, target)
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/") {
		t.Errorf("authorization %q", r.Header.Get("Authorization"))
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Errorf("%v: %.300s", err, body)
	}
}
