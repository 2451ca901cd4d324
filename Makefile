# SideArmor on Debian with Go: `make test` needs nothing else installed by hand.
GO     ?= go
BIN    ?= bin
GOARCH ?= $(shell $(GO) env GOHOSTARCH)

# The tracer is cgo (libseccomp) and must run in scratch and musl images, so its
# libc is linked in: musl, which is a tenth of glibc. netgo and osusergo keep the
# resolver of a libc out.
# It speaks HTTP/1.1 only: a transport with a TLS configuration of its own never
# tries HTTP/2, so that nethttpomithttp2 leaves out nothing that would run.
MUSL        := build/musl/$(GOARCH)
STATIC_TAGS := netgo,osusergo,nethttpomithttp2
# What nobody refers to is left out of the C libraries too.
STATIC_C    := -static -Wl,--gc-sections -Wl,-z,noseparate-code
# Functions begin at multiples of 8 bytes (of 16 on arm64, as ever), not of 32: 1.5% less.
FUNC_ALIGN  ?= $(if $(filter arm64,$(GOARCH)),16,8)
STATIC_LINK := -linkmode external -extldflags '$(STATIC_C)' -funcalign $(FUNC_ALIGN)
# What runs seldom, at the start or for a connection, or beside a system call, is not
# inlined: the program is smaller.
COLD        := go.yaml.in/yaml/v3 github.com/spf13/pflag github.com/fsnotify/fsnotify github.com/seccomp/libseccomp-golang \
	golang.org/x/sys/unix regexp/syntax bufio compress/... context crypto/... encoding/... fmt internal/fmtsort internal/godebug \
	internal/poll internal/sync io/fs log/slog/... math/big mime/... net net/http/... net/netip net/textproto net/url os os/... \
	path/... reflect sort strconv text/... time unicode/... unique vendor/... \
	$(addprefix github.com/sidearmor/sidearmor/,schema/policy schema/policydir schema/policystream tracer \
	$(addprefix tracer/internal/,config doctor explain filter identity launch learn peer policies syscalls trial))
# The same for the sidekick: clients of AWS and Kubernetes wait for the network.
COLD_SIDEKICK := github.com/aws/... k8s.io/... sigs.k8s.io/...
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS     := -s -w -X main.version=$(VERSION)

QEMU_amd64 := qemu-system-x86
QEMU_arm64 := qemu-system-arm
DEBS       := gcc libc6-dev musl-tools pkg-config libseccomp-dev curl python3 procps runc busybox-static
# Servers that outputs are tested with, and a machine for other kernels.
DEBS_TEST  := prometheus prometheus-alertmanager rsyslog rsyslog-gnutls $(QEMU_$(GOARCH))
# What a Kubernetes API server keeps its objects in.
DEBS_TEST  += etcd-server
# Programs that are compared with themselves under the tracer.
DEBS_TEST  += python3.11 libpython3.11-testsuite git sqlite3 perl postgresql redis-server redis-tools nginx-light \
	strace bzip2 xz-utils patch
# What an attacker uses, and a network of its own.
DEBS_ATTACK := curl python3 iproute2 util-linux
DEBS_TEST  += $(DEBS_ATTACK)
DEBS_ARM64 := gcc-aarch64-linux-gnu libc6-dev-arm64-cross libseccomp-dev:arm64 musl-dev:arm64

# Kernels that tests boot, series and architecture: the one of every test, which is
# as old as Fargate's may be, and all.
KERNEL_TEST  := 5.10-$(GOARCH)
KERNELS_LONG := 5.10-amd64 6.1-amd64 6.1-arm64

# Tools are kept by version: a new version is a new path, so it is built once.
TOOLS         := $(CURDIR)/bin/tools
GOLANGCI_LINT := $(TOOLS)/golangci-lint-v2.15.0
GOTESTSUM     := $(TOOLS)/gotestsum-v1.13.0
# Built from a module of its own, test/kube/apiserver, which has the same version: the
# first time that takes some ten minutes.
KUBE_APISERVER := $(TOOLS)/kube-apiserver-v1.34.4

.PHONY: all build build-arm64 deps deps-test deps-arm64 test test-kernels lint fmt demo attack picture bench soak strangers generate images release push kube-apiserver clean
all: build

build: deps
	@.ci/musl $(MUSL) $(GOARCH) $(CC)
	CGO_ENABLED=1 GOARCH=$(GOARCH) CC=$(CURDIR)/$(MUSL)/cc $(GO) build -tags $(STATIC_TAGS) -trimpath -buildvcs=false $(COLD:%=-gcflags=%=-l) \
		-ldflags "$(STATIC_LINK) $(LDFLAGS)" -o $(BIN)/tracer ./tracer
	CGO_ENABLED=0 GOARCH=$(GOARCH) $(GO) build -trimpath -buildvcs=false $(COLD_SIDEKICK:%=-gcflags=%=-l) \
		-ldflags "$(LDFLAGS)" -o $(BIN)/sidekick ./sidekick
	CGO_ENABLED=0 GOARCH=$(GOARCH) $(GO) build -trimpath -buildvcs=false -ldflags "$(LDFLAGS)" -o $(BIN)/inject ./deploy/inject

build-arm64: deps-arm64
	CC=aarch64-linux-gnu-gcc PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig \
		$(MAKE) build GOARCH=arm64 BIN=$(BIN)/arm64

deps:
	@.ci/deps $(DEBS)

deps-test: deps
	@.ci/deps $(DEBS_TEST)

deps-arm64: deps
	@.ci/deps --arch arm64 $(DEBS_ARM64)

# What cannot be built is the business of the tests that want it, as below.
kube-apiserver: deps
	-@$(MAKE) --no-print-directory $(KUBE_APISERVER)/kube-apiserver

$(KUBE_APISERVER)/kube-apiserver:
	cd test/kube/apiserver && CGO_ENABLED=0 GOWORK=off $(GO) build -trimpath -buildvcs=false -o $@ \
		-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$(subst kube-apiserver-,,$(notdir $(@D))) \
		-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34" k8s.io/kubernetes/cmd/kube-apiserver

# A kernel that cannot be had is the business of the tests that want it: the others
# can do without.
kernel-%: deps
	-@.ci/kernel build/kernels/$* $(subst -, ,$*)

test: deps-test build kernel-$(KERNEL_TEST) kube-apiserver $(GOTESTSUM)/gotestsum
	CGO_ENABLED=1 $(GOTESTSUM)/gotestsum --format pkgname --packages ./... -- -race -count=1 -timeout 25m $(TESTFLAGS)

# The tracer on other kernels, in emulated machines: all checks of test/kernels.
test-kernels: deps-test deps-arm64 build build-arm64 $(KERNELS_LONG:%=kernel-%)
	@.ci/deps $(QEMU_amd64) $(QEMU_arm64)
	$(GO) test -count=1 -timeout 3h -v -run TestKernels $(TESTFLAGS) ./test/kernels -long

# golangci-lint carries gofumpt, go vet and staticcheck at versions that fit
# together; .golangci.yml turns them on.
lint: deps $(GOLANGCI_LINT)/golangci-lint
	$(GOLANGCI_LINT)/golangci-lint run --allow-parallel-runners ./...

fmt: $(GOLANGCI_LINT)/golangci-lint
	$(GOLANGCI_LINT)/golangci-lint fmt

demo: build
	examples/demo/demo.sh $(BIN)

# A vulnerable web application is attacked, without and with the tracer.
attack: build
	@.ci/deps $(DEBS_ATTACK)
	examples/attack/run.sh $(BIN)

# The picture in README.md: the messages that Slack got of these attacks.
picture: build
	@.ci/deps $(DEBS_ATTACK)
	SAVE=build/slack examples/attack/run.sh $(BIN)
	$(GO) run ./examples/attack/picture build/slack docs/slack.png

# Test suites that others wrote, natively and under the tracer: docs/transparency.md.
# STRANGERSFLAGS="-only PATTERN -engine ptrace".
strangers: deps-test build
	@.ci/deps stress-ng linux-source-6.1 libcap-dev
	$(GO) run ./test/strangers -bin $(BIN) $(STRANGERSFLAGS)

# FLOOR_SRC: sources of the cheapest possible supervisors (programs work, notify
# and ptrace), which the tracer is measured beside. BENCHFLAGS="-only PATTERN -rounds N".
FLOOR_SRC ?= ../shared/limit
bench: build
	$(GO) test -run '^$$' -bench . -benchmem $(TESTFLAGS) ./...
	$(MAKE) -C $(FLOOR_SRC) BIN=$(CURDIR)/build/floor
	$(GO) run ./test/bench -bin $(BIN) -floor build/floor $(BENCHFLAGS)

# A long run with failing receivers and kills: SOAKFLAGS="-duration 5m -kill-every 20s".
soak: build
	$(GO) run ./test/soak -bin $(BIN) $(SOAKFLAGS)

generate:
	$(GO) generate ./...

# Container images as OCI layouts, without a daemon, with an SBOM beside each. What
# build-arm64 has made goes in too. REGISTRY=HOST/PATH make push sends them.
IMAGES := build/images
images: build
	$(GO) run ./deploy/images --amd64 $(BIN) $(if $(wildcard $(BIN)/arm64/tracer),--arm64 $(BIN)/arm64) --out $(IMAGES) --version $(VERSION) \
		$(if $(PUSH),--push $(PUSH))

# Archives, Debian packages, checksums and provenance of both architectures, and the images.
RELEASE := build/release
release: build build-arm64
	$(MAKE) images
	$(GO) run ./deploy/release --amd64 $(BIN) --arm64 $(BIN)/arm64 --images $(IMAGES) --out $(RELEASE) --version $(VERSION) \
		--commit $(shell git rev-parse HEAD) --epoch $(shell git log -1 --format=%ct)

push:
	$(if $(REGISTRY),,$(error push: REGISTRY=HOST/PATH says where to))
	$(MAKE) images PUSH=$(REGISTRY)

$(GOLANGCI_LINT)/golangci-lint:
	CGO_ENABLED=0 GOBIN=$(@D) $(GO) install github.com/golangci/golangci-lint/v2/cmd/$(subst -v,@v,$(notdir $(@D)))

$(GOTESTSUM)/gotestsum:
	CGO_ENABLED=0 GOBIN=$(@D) $(GO) install gotest.tools/$(subst -v,@v,$(notdir $(@D)))

clean:
	rm -rf $(BIN)/tracer $(BIN)/sidekick $(BIN)/inject $(BIN)/arm64
