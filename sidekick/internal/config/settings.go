package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
)

// setting is one row of the table: a key that there is. From the table come what is
// read and how, what a value may be, what check and help config show, what a misspelt
// name is guessed to be, and the tables in docs/.
type setting struct {
	path      string // "slack.webhookurl"; the variable is SLACK_WEBHOOKURL
	as        valueType
	secret    bool // never shown; may be in a file, by the variable with _FILE
	byDefault string

	// Bounds of asNumber, of asSize in bytes and of asDuration in nanoseconds.
	least, most int64
	orZero      bool     // 0 is outside of the bounds, and may be given too
	choices     []string // of asChoice

	usage string // for a terminal
	doc   string // for the documents, in Markdown; "" for usage
}

// valueType is how the text of a setting is read.
type valueType int

// Types of values.
const (
	asText valueType = iota
	asBoolean
	asNumber
	asPort
	asSize // bytes, or with KiB, MiB, GiB
	asDuration
	asChoice
	asFile    // path of a file or directory
	asList    // by commas; in YAML a list
	asMapping // name:value by commas; in YAML a mapping
)

// String names the type for the documents.
func (t valueType) String() string {
	return [...]string{"text", "true or false", "number", "port", "size", "duration", "choice", "path", "list", "mapping"}[t]
}

// generalSettings are all that belong to no output.
func generalSettings() []setting {
	return slices.Concat(listenSettings(), tlsSettings(), peerSettings(), policySettings(), logSettings(), eventSettings(), queueSettings())
}

// listenSettings are about who is served, and where.
func listenSettings() []setting {
	return []setting{
		{
			path: "listenaddress", byDefault: defaultAddress, usage: "IP address to listen at, 0.0.0.0 for all",
			doc: "An IP address, `0.0.0.0` for all. Any but loopback asks for a token, certificates or `LISTEN_INSECURE`: see [Who may post](security.md#who-may-post).",
		},
		{
			path: "listenport", as: asPort, byDefault: strconv.Itoa(defaultPort), usage: "port, 0 for any free one",
			doc: "`0` takes any free port and says so in the log.",
		},
		{
			path: "listensocket", as: asFile, usage: "path of a Unix socket to listen at",
			doc: "Path of a Unix socket to listen at, at most 80 bytes. TCP is then served too only if an address, a port or TLS is set.",
		},
		{
			path: "listensocket_mode", byDefault: defaultSocketMode, usage: "mode of its file, octal: who may write to it may post",
			doc: "Mode of the socket's file, octal. Who may write to it may connect.",
		},
		{
			path: insecurePath, as: asBoolean, byDefault: "false", usage: "whoever can connect may post, and read GRPC_LISTEN",
			doc: "Whoever can connect may post, and read `GRPC_LISTEN`. `LISTENADDRESS` is then `0.0.0.0` unless it is set.",
		},
		{
			path: "auth.token", secret: true, usage: "tokens of those who may post, by commas",
			doc: "Tokens of those who may post, separated by commas. `AUTH_TOKEN_FILE`: or one a line.",
		},
		{
			path: "auth.token_read", secret: true, usage: "tokens of those who may read, by commas",
			doc: "Tokens of those who may read events and settings: see [Tokens](security.md#tokens). `AUTH_TOKEN_READ_FILE` likewise.",
		},
		{
			path: "auth.token_admin", secret: true, usage: "tokens of those who may do all, by commas",
			doc: "Tokens of those who may do everything. `AUTH_TOKEN_ADMIN_FILE` likewise.",
		},
	}
}

// tlsSettings are about certificates of the server and of clients.
func tlsSettings() []setting {
	return []setting{
		{
			path: "tlsserver.deploy", as: asBoolean, byDefault: "false", usage: "TLS on LISTENPORT",
			doc: "TLS 1.2 or newer on `LISTENPORT`.",
		},
		{path: "tlsserver.certfile", as: asFile, byDefault: defaultCertFile, usage: "certificate of the server, PEM"},
		{path: "tlsserver.keyfile", as: asFile, byDefault: defaultKeyFile, usage: "its key, PEM"},
		{
			path: "tlsserver.mutualtls", as: asBoolean, byDefault: "false", usage: "only clients with a certificate are let in",
			doc: "Only clients with a certificate are let in.",
		},
		{
			path: "tlsserver.cacertfile", as: asFile, byDefault: defaultCAFile, usage: "authorities of the clients' certificates, PEM",
			doc: "Authorities of the clients' certificates.",
		},
		{path: "tlsserver.notlsport", as: asPort, byDefault: strconv.Itoa(defaultPlainPort), usage: "port without TLS for TLSSERVER_NOTLSPATHS"},
		{
			path: "tlsserver.notlspaths", as: asList, usage: "paths, by commas, that are served without TLS",
			doc: "Paths, by commas, served without TLS at `TLSSERVER_NOTLSPORT` instead: of `/ping`, `/healthz`, `/readyz` and `/metrics`.",
		},
	}
}

// peerSettings are about limits, and about gRPC: see docs/grpc.md.
func peerSettings() []setting {
	return []setting{
		{
			path: "rate_limit", as: asNumber, most: maxLimit, byDefault: strconv.Itoa(defaultRate), usage: "events a second of one source, 0 for no limit",
			doc: "Events a second of one source, `0` for no limit: see [Limits](operate.md#limits). Unless it is set, loopback and Unix sockets have none.",
		},
		{
			path: "max_connections", as: asNumber, least: minConnections, most: maxLimit, byDefault: strconv.Itoa(defaultConnections), usage: "connections at a time, 16 or more",
			doc: "At a time, at all ports and sockets together, 16 or more.",
		},
		{
			path: "grpc.listen", usage: "address:port where events are read by gRPC",
			doc: "Address and port to be read at: `127.0.0.1:32767`, `:32767` for every address.",
		},
		{
			path: "grpc.policies", as: asChoice, choices: []string{PoliciesAdmin, PoliciesOpen, PoliciesOff}, byDefault: PoliciesAdmin,
			usage: "who may change policies by gRPC: admin, open (whoever can connect) or off",
			doc:   "Who may change and see policies over gRPC: `admin`, who shows a token of `AUTH_TOKEN_ADMIN` or a client certificate; `open`, whoever can connect; `off`, nobody.",
		},
		{
			path: "kubearmor.grpc", as: asList, usage: "host:port of KubeArmor or its relay to take events from, by commas",
			doc: "Where to take events from: `host:port`, up to 16 of them by commas.",
		},
		{
			path: "kubearmor.grpc_logs", as: asBoolean, byDefault: "false", usage: "takes logs too, and not alerts alone",
			doc: "Take logs too, and not alerts alone.",
		},
		{
			path: "kubearmor.grpc_tls", as: asBoolean, byDefault: "false", usage: "connects with TLS",
			doc: "TLS 1.2 or newer. KubeArmor has none unless told so.",
		},
		{
			path: "kubearmor.grpc_cacertfile", as: asFile, usage: "authorities of the peers' certificates, PEM",
			doc: "Authorities of the peers' certificates. Without it those that everybody trusts.",
		},
		{
			path: "kubearmor.grpc_certfile", as: asFile, usage: "certificate to show to the peers, PEM",
			doc: "Certificate to show, with its key. Files are read again for each connection.",
		},
		{path: "kubearmor.grpc_keyfile", as: asFile, usage: "its key, PEM"},
	}
}

// policySettings are about policies for tracers.
func policySettings() []setting {
	return []setting{
		{
			path: "policies.directory", as: asFile, usage: "directory of policies for tracers, which is watched",
			doc: "Directory of [policies](../policies.md#from-the-sidekick) for tracers, which is watched. Absolute.",
		},
		{
			path: "policies.strict", as: asBoolean, byDefault: "false", usage: "what KubeArmor passes over in a policy is an error",
			doc: "Makes an error of what KubeArmor passes over in a policy.",
		},
		{
			path: "policies.state_dir", as: asFile, usage: "directory where policies that clients send are kept",
			doc: "Where policies that clients send are kept, `policies` in `QUEUE_DIR` unless it is set. It must last as long as they are to hold. With `QUEUE_URL` there is none unless it is set, and then clients can send none.",
		},
		{
			path: "policies.kubernetes", as: asBoolean, byDefault: "false", usage: "follows the policies of the cluster that concern this pod: POD_NAME in POD_NAMESPACE",
			doc: "The policies of the cluster that concern this pod, which is `POD_NAME` in `POD_NAMESPACE`, are followed: see [policies.md](../policies.md#from-a-kubernetes-cluster).",
		},
		{
			path: "policies.kubeconfig", as: asFile, usage: "kubeconfig to reach the cluster by, instead of the pod's service account",
			doc: "Kubeconfig to reach the cluster by, instead of the pod's service account. Absolute.",
		},
		{
			path: "policies.ssm", as: asList, usage: "parameters of AWS Systems Manager with policies, by commas; one that ends in / is all below it",
			doc: "Parameters of AWS Systems Manager with policies; one that ends in `/` is all below it: see [policies.md](../policies.md#from-aws).",
		},
		{
			path: "policies.s3", as: asList, usage: "objects of S3 with policies, s3://bucket/key, by commas; one that ends in / is all below it",
			doc: "Objects of S3 with policies, `s3://bucket/key`, likewise.",
		},
		{
			path: "policies.interval", as: asDuration, byDefault: "30s", least: int64(time.Second), most: int64(time.Hour),
			usage: "how often POLICIES_SSM and POLICIES_S3 are asked",
			doc:   "How often `POLICIES_SSM` and `POLICIES_S3` are asked.",
		},
	}
}

// logSettings are about the log.
func logSettings() []setting {
	return []setting{
		{
			path: "debug", as: asBoolean, byDefault: "false", usage: "true is the same as LOG_LEVEL=debug",
			doc: "`true` is the same as `LOG_LEVEL=debug`, and wins over it.",
		},
		{
			path: "log.level", as: asChoice, choices: []string{"debug", "info", "warn", "error"}, byDefault: defaultLogLevel, usage: "debug, info, warn or error",
			doc: "`debug`, `info`, `warn` or `error`. With `debug` one line for each event, without command lines.",
		},
		{
			path: "log.format", as: asChoice, choices: []string{"json", "text"}, byDefault: defaultLogFormat, usage: "json or text",
			doc: "`json`: one object a line. `text`: `key=value`.",
		},
	}
}

// eventSettings are about what is added to events.
func eventSettings() []setting {
	return []setting{
		{
			path: "customfields", as: asMapping, usage: "name:value, by commas, added to every event",
			doc: "`name:value,name:value`, added to every event: to `output_fields` of Falco's, which may then lack them, to `EventData` of KubeArmor's. `%NAME` as a value is that of the variable `NAME`. In YAML a mapping.",
		},
		{
			path: "customtags", as: asList, usage: "tags, by commas, added to Falco events and KubeArmor alerts",
			doc: "Tags, by commas, added to Falco's events and to KubeArmor's alerts. `%NAME` as with `CUSTOMFIELDS`. In YAML a list.",
		},
		{
			path: "templatedfields", as: asMapping, usage: "name:template, by commas, added to Falco events",
			doc: "`name:template,name:template`, fields added to Falco's events: Go templates over their output fields, `{{ or (index . \"k8s.ns.name\") \"none\" }}`. One that is wrong is an error at the start. In YAML a mapping.",
		},
		{
			path: bracketReplacerPath, usage: "what stands for [ in names of output fields",
			doc: "What stands for `[` in the names of output fields of Falco's events; `]` goes. With `_`, `args[0]` becomes `args_0`.",
		},
		{
			path: "outputfieldformat", usage: "how the output of Falco events is written",
			doc: "How the output of Falco's events is written, of `<timestamp>`, `<priority>`, `<output>`, `<custom_fields>`, `<templated_fields>` and `<tags>`. Only an output that begins as Falco's do, with time and priority, is written anew.",
		},
		{
			path: "prometheus.extralabels", as: asList, usage: "output fields, by commas, that are labels of the metric of Falco events",
			doc: "Output fields, by commas, that are labels of [`falcosecurity_falcosidekick_falco_events_total`](operate.md#metrics).",
		},
	}
}

// queueSettings are about what is stored, and how it is delivered.
func queueSettings() []setting {
	return []setting{
		{
			path: "queue.dir", as: asFile, usage: "directory where events are stored",
			doc: "Where events are stored. Without it see [Queue](queue.md).",
		},
		{
			path: "queue.max_bytes", as: asSize, least: minQueueBytes, most: maxQueueBytes, byDefault: fmt.Sprintf("%dMiB", defaultQueueBytes>>20), usage: "how much of events is stored, in bytes or with KiB, MiB, GiB",
			doc: "How much of events is stored, 24 MiB to 1024 GiB, in bytes or with `KiB`, `MiB`, `GiB`: two thirds for alerts, one for logs.",
		},
		{
			path: "queue.sync", as: asChoice, choices: []string{"interval", "always"}, byDefault: "interval", usage: "interval, or always: each event is on the disk before it is answered",
			doc: "`always` writes each event to the disk before it is answered, see [Queue](queue.md).",
		},
		{
			path: "queue.url", as: asList, secret: true, usage: "servers of a JetStream cluster, by commas, that stores events instead",
			doc: "`nats://host:port` or `tls://host:port`, several separated by commas: events are stored in this JetStream instead, see [A cluster](queue.md#a-cluster). `user:password@` or `token@` before a host counts for all.",
		},
		{
			path: "queue.user", usage: "user at the cluster, with QUEUE_PASSWORD",
			doc: "With `QUEUE_PASSWORD`, instead of a user in `QUEUE_URL`.",
		},
		{path: "queue.password", secret: true, usage: "password of QUEUE_USER"},
		{
			path: "queue.credsfile", as: asFile, usage: "file with a user's JWT and nkey seed, instead of a password",
			doc: "A user's JWT and nkey seed, as nsc writes them, instead of a password. Read at every connect.",
		},
		{
			path: "queue.cacertfile", as: asFile, usage: "authorities of the servers' certificates, PEM; the system's without it",
			doc: "Authorities of the servers' certificates. Without it the system's.",
		},
		{
			path: "queue.certfile", as: asFile, usage: "certificate to show to the servers, PEM",
			doc: "Certificate that is shown to the servers.",
		},
		{path: "queue.keyfile", as: asFile, usage: "its key, PEM"},
		{
			path: "queue.replicas", as: asChoice, choices: []string{"1", "3", "5"}, byDefault: strconv.Itoa(defaultReplicas), usage: "copies of each event in the cluster: 1, 3 or 5",
			doc: "Copies of each event: 1, 3 or 5.",
		},
		{
			path: "queue.name", byDefault: defaultQueueName, usage: "what the names of streams begin with",
			doc: "What the names of streams and subjects begin with. Sidekicks with the same name share a queue.",
		},
		{
			path: "shutdown_timeout", as: asDuration, least: int64(time.Second), most: int64(10 * time.Minute), byDefault: defaultShutdownTimeout, usage: "how long an orderly stop may take",
			doc: "How long the stop after SIGTERM may take, `1s` to `10m`, see [Delivery](queue.md#delivery).",
		},
		{
			path: "queue.max_age", as: asDuration, orZero: true, least: int64(time.Minute), most: int64(forever), byDefault: defaultMaxAge, usage: "how old an event may become before it is a dead letter, 0 for no limit",
			doc: "How old an event may become before it goes to the [dead letters](queue.md#delivery) of an output that has not taken it. At least `1m`; `0` for no limit.",
		},
		{
			path: "history.max_age", as: asDuration, orZero: true, least: int64(time.Minute), most: int64(forever), byDefault: defaultHistoryAge, usage: "how long events stay after they were delivered, 0 for no history",
			doc: "How long events stay after they were delivered, for [a look at the past](queue.md#history). At least `1m`; `0` for no history.",
		},
		{
			path: "history.max_bytes", as: asSize, orZero: true, least: minHistoryBytes, most: maxQueueBytes, byDefault: fmt.Sprintf("%dMiB", defaultHistoryBytes>>20), usage: "how much of delivered events stays, within QUEUE_MAX_BYTES, 0 for no history",
			doc: "How much of delivered events stays, within `QUEUE_MAX_BYTES` and at most a quarter of it. At least 1 MiB; `0` for no history.",
		},
		{
			path: "digest.window", as: asDuration, orZero: true, least: int64(minDigestWindow), most: int64(maxDigestWindow), byDefault: defaultDigestWindow, usage: "similar events within it become one message, 0 for never",
			doc: "Similar events within it become one message, see [Digests](queue.md#digests). `1s` to `24h`; `0` for a message for each event.",
		},
		{path: clientFilesPath, as: asFile, usage: "directory with client.crt, client.key and ca.crt, for MUTUALTLSCLIENT_*"},
	}
}

// commonSettings are those that every kind has and none declares.
func commonSettings(k outputs.Kind) []setting {
	all := []setting{
		{
			path: k.Block + ".name", usage: "tells several outputs of a kind apart",
			doc: "See [Several outputs of a kind](#several-outputs-of-a-kind).",
		},
		{
			path: k.Block + ".minimumpriority", usage: "events of a lower priority are not delivered",
			doc: "Events of a lower [priority](../events.md#priority) are not delivered to this output.",
		},
		{
			path: k.Block + ".filter", usage: "expression over an event; what it is false for is not delivered",
			doc: "Expression that an event must match: see [Filters](#filters).",
		},
		{
			path: k.Block + ".logs", as: asBoolean, byDefault: strconv.FormatBool(k.Logs), usage: "whether it gets KubeArmor logs, or alerts alone",
			doc: "Whether this output gets KubeArmor logs, or alerts alone. The default is in [outputs.md](../outputs.md).",
		},
		{
			path: k.Block + ".max_attempts", as: asNumber, least: 1, most: maxMaxAttempts, byDefault: strconv.Itoa(defaultMaxAttempts), usage: "attempts for an event that fails while others get through",
			doc: "How often an event is tried that fails while others get through, 1 to 1000.",
		},
	}
	if !k.Serial {
		all = append(all,
			setting{
				path: k.Block + ".concurrency", as: asNumber, least: 1, most: maxConcurrency, byDefault: "1", usage: "requests in flight at a time; order is kept only with 1",
				doc: "Requests in flight at a time, 1 to 64; not stdout. Order is kept only with 1.",
			},
			setting{
				path: k.Block + ".maxconcurrentrequests", as: asNumber, most: maxLimit, usage: "FalcoSidekick's name for the one above",
				doc: "FalcoSidekick's name for the one above, where that is not set.",
			})
	}
	if k.Digests {
		all = append(all, setting{
			path: k.Block + ".digest_window", as: asDuration, orZero: true, least: int64(minDigestWindow), most: int64(maxDigestWindow),
			usage: "instead of DIGEST_WINDOW, for outputs that have digests", doc: "Instead of `DIGEST_WINDOW`, for outputs that have [digests](queue.md#digests).",
		})
	}
	return all
}

func settingOf(k outputs.Kind, s outputs.Setting) setting {
	as := asText
	if s.Map {
		as = asMapping
	}
	return setting{path: cmp.Or(s.Block, k.Block) + "." + cmp.Or(s.Name, s.Key), secret: s.Secret, as: as, byDefault: s.Default, usage: s.Usage}
}
