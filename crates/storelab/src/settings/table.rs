//! Every option, once: flags, variables, the file's keys, `config explain` and the documentation's table are made from here.

use super::kind::Kind;

/// What can be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Its place in `conf/config.yaml`, a dot for each level. A `*` stands for each of [`STORES`].
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) flag: Option<Flag>,
    /// The environment variable, in which a `*` stands for a store's name in capitals.
    pub(crate) variable: &'static str,
    /// What holds where nobody says otherwise.
    pub(crate) default: Option<&'static str>,
    /// One line.
    pub(crate) summary: &'static str,
    /// Its value is never shown.
    pub(crate) is_secret: bool,
    /// An empty variable means an empty value, and not that nobody said anything.
    pub(crate) may_be_empty: bool,
}

/// A flag without its dashes, and which commands have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    /// All.
    Everywhere(&'static str),
    /// Those about the service.
    Service(&'static str),
}

impl Flag {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Everywhere(name) | Self::Service(name) => name,
        }
    }
}

/// The stores that are reached over a network, as drivers are called.
pub(crate) const STORES: &[&str] = &[
    "cassandra",
    "cockroachdb",
    "dynamodb",
    "elasticsearch",
    "influxdb",
    "mariadb",
    "mongodb",
    "mysql",
    "oceanbase",
    "postgres",
    "redis",
    "tidb",
];

const fn setting(name: &'static str, variable: &'static str, kind: Kind, summary: &'static str) -> Setting {
    Setting { name, kind, flag: None, variable, default: None, summary, is_secret: false, may_be_empty: false }
}

/// A password or the like.
const fn secret(name: &'static str, variable: &'static str, summary: &'static str) -> Setting {
    Setting { is_secret: true, ..setting(name, variable, Kind::Text, summary) }
}

impl Setting {
    const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    const fn or_empty(self) -> Self {
        Self { may_be_empty: true, ..self }
    }

    const fn everywhere(self, flag: &'static str) -> Self {
        Self { flag: Some(Flag::Everywhere(flag)), ..self }
    }

    const fn serving(self, flag: &'static str) -> Self {
        Self { flag: Some(Flag::Service(flag)), ..self }
    }
}

const PORT: Kind = Kind::Count(1, 65_535);
const HTTP: Kind = Kind::Url(&["http", "https"]);
/// More connections than one process can have.
const SESSIONS: Kind = Kind::Count(1, 65_535);

/// The levels of `log.level`, and what each of them is to the library that writes the log.
pub(crate) const LEVELS: &[&str] = &["OFF", "ERROR", "CRITICAL", "WARNING", "WARN", "INFO", "DEBUG", "TRACE"];

/// Every option, by name.
pub(crate) static SETTINGS: &[Setting] = &[
    setting(
        "databases.*.max_connections",
        "STORELAB_DATABASES_*_MAX_CONNECTIONS",
        SESSIONS,
        "most sessions of an experiment on this store",
    ),
    setting(
        "databases.*.max_overflow",
        "STORELAB_DATABASES_*_MAX_OVERFLOW",
        Kind::Count(0, 65_535),
        "sessions that an experiment on this store may have beyond `pool_size`",
    ),
    setting(
        "databases.*.max_pool_size",
        "STORELAB_DATABASES_*_MAX_POOL_SIZE",
        SESSIONS,
        "most sessions of an experiment on this store",
    ),
    setting(
        "databases.*.pool_size",
        "STORELAB_DATABASES_*_POOL_SIZE",
        SESSIONS,
        "sessions of an experiment on this store that names none; with `max_overflow`, the most that one may have",
    ),
    setting("databases.cassandra.host", "CASSANDRA_HOST", Kind::Text, "where Cassandra is").or("127.0.0.1"),
    setting(
        "databases.cassandra.keyspace",
        "CASSANDRA_KEYSPACE",
        Kind::Text,
        "the keyspace to work in; where none is given, one that Storelab makes",
    ),
    secret("databases.cassandra.password", "CASSANDRA_PASSWORD", "who enters Cassandra, where anybody must"),
    setting("databases.cassandra.port", "CASSANDRA_PORT", PORT, "Cassandra's port").or("9042"),
    setting("databases.cassandra.user", "CASSANDRA_USER", Kind::Text, "who enters Cassandra, where anybody must"),
    setting("databases.cockroachdb.db", "COCKROACHDB_DB", Kind::Text, "CockroachDB's database").or("optistack"),
    setting("databases.cockroachdb.host", "COCKROACHDB_HOST", Kind::Text, "where CockroachDB is").or("127.0.0.1"),
    secret("databases.cockroachdb.password", "COCKROACHDB_PASSWORD", "who enters CockroachDB").or(""),
    setting("databases.cockroachdb.port", "COCKROACHDB_PORT", PORT, "CockroachDB's port").or("26257"),
    setting("databases.cockroachdb.user", "COCKROACHDB_USER", Kind::Text, "who enters CockroachDB").or("root"),
    setting("databases.dynamodb.access_key", "DYNAMODB_ACCESS_KEY", Kind::Text, "whose requests to DynamoDB are"),
    setting("databases.dynamodb.host", "DYNAMODB_HOST", Kind::Text, "where DynamoDB is").or("127.0.0.1"),
    setting("databases.dynamodb.port", "DYNAMODB_PORT", PORT, "DynamoDB's port; 8000 on this machine"),
    setting(
        "databases.dynamodb.region",
        "DYNAMODB_REGION",
        Kind::Text,
        "the region that requests to DynamoDB are signed for",
    ),
    secret("databases.dynamodb.secret_key", "DYNAMODB_SECRET_KEY", "what requests to DynamoDB are signed with"),
    secret("databases.elasticsearch.password", "ELASTICSEARCH_PASSWORD", "who enters Elasticsearch").or("changeme"),
    setting("databases.elasticsearch.url", "ELASTICSEARCH_URL", HTTP, "where Elasticsearch is")
        .or("http://127.0.0.1:9200"),
    setting("databases.elasticsearch.user", "ELASTICSEARCH_USER", Kind::Text, "who enters Elasticsearch").or("elastic"),
    setting(
        "databases.influxdb.bucket",
        "INFLUXDB_BUCKET",
        Kind::Text,
        "taken and not looked at: nothing is put into a bucket that Storelab did not make",
    ),
    setting(
        "databases.influxdb.org",
        "INFLUXDB_ORG",
        Kind::Text,
        "InfluxDB's organisation; where none is given, the only one that the token sees",
    ),
    secret("databases.influxdb.token", "INFLUXDB_TOKEN", "who enters InfluxDB"),
    setting("databases.influxdb.url", "INFLUXDB_URL", HTTP, "where InfluxDB is").or("http://127.0.0.1:8086"),
    setting("databases.mariadb.db", "MARIADB_DB", Kind::Text, "MariaDB's database").or("optistack"),
    setting("databases.mariadb.host", "MARIADB_HOST", Kind::Text, "where MariaDB is").or("127.0.0.1"),
    secret("databases.mariadb.password", "MARIADB_PASSWORD", "who enters MariaDB").or("root").or_empty(),
    setting("databases.mariadb.port", "MARIADB_PORT", PORT, "MariaDB's port").or("3306"),
    setting("databases.mariadb.user", "MARIADB_USER", Kind::Text, "who enters MariaDB").or("root"),
    setting("databases.mongodb.url", "MONGODB_URL", Kind::Url(&["mongodb"]), "where MongoDB is, and who enters it")
        .or("mongodb://127.0.0.1:27017"),
    setting("databases.mysql.db", "MYSQL_DB", Kind::Text, "MySQL's database").or("optistack"),
    setting("databases.mysql.host", "MYSQL_HOST", Kind::Text, "where MySQL is").or("127.0.0.1"),
    secret("databases.mysql.password", "MYSQL_PASSWORD", "who enters MySQL").or("root").or_empty(),
    setting("databases.mysql.port", "MYSQL_PORT", PORT, "MySQL's port").or("3306"),
    setting("databases.mysql.user", "MYSQL_USER", Kind::Text, "who enters MySQL").or("root"),
    setting("databases.oceanbase.db", "OB_DB", Kind::Text, "OceanBase's database").or("test"),
    setting("databases.oceanbase.host", "OB_HOST", Kind::Text, "where OceanBase is").or("127.0.0.1"),
    secret("databases.oceanbase.password", "OB_PASSWORD", "who enters OceanBase").or("").or_empty(),
    setting("databases.oceanbase.port", "OB_PORT", PORT, "OceanBase's port").or("2881"),
    setting("databases.oceanbase.user", "OB_USER", Kind::Text, "who enters OceanBase").or("root"),
    setting("databases.postgres.db", "POSTGRES_DB", Kind::Text, "PostgreSQL's database").or("optistack"),
    setting("databases.postgres.host", "POSTGRES_HOST", Kind::Text, "where PostgreSQL is").or("127.0.0.1"),
    secret("databases.postgres.password", "POSTGRES_PASSWORD", "who enters PostgreSQL").or("postgres"),
    setting("databases.postgres.port", "POSTGRES_PORT", PORT, "PostgreSQL's port").or("5432"),
    setting("databases.postgres.user", "POSTGRES_USER", Kind::Text, "who enters PostgreSQL").or("postgres"),
    setting(
        "databases.redis.url",
        "REDIS_URL",
        Kind::Url(&["redis", "rediss", "valkey"]),
        "where Redis is, and who enters it",
    )
    .or("redis://127.0.0.1:6379"),
    setting("databases.tidb.db", "TIDB_DB", Kind::Text, "TiDB's database").or("test"),
    setting("databases.tidb.host", "TIDB_HOST", Kind::Text, "where TiDB is").or("127.0.0.1"),
    secret("databases.tidb.password", "TIDB_PASSWORD", "who enters TiDB").or("").or_empty(),
    setting("databases.tidb.port", "TIDB_PORT", PORT, "TiDB's port").or("4000"),
    setting("databases.tidb.user", "TIDB_USER", Kind::Text, "who enters TiDB").or("root"),
    setting(
        "experiments.default_concurrent_queries",
        "STORELAB_EXPERIMENTS_DEFAULT_CONCURRENT_QUERIES",
        SESSIONS,
        "`concurrent_users` of an experiment that names none, where its store has no `pool_size`",
    )
    .or("10"),
    setting(
        "experiments.default_rows",
        "STORELAB_EXPERIMENTS_DEFAULT_ROWS",
        Kind::Count(1, 1_000_000_000),
        "`rows` of an experiment that names none",
    )
    .or("1000"),
    setting(
        "experiments.timeout_seconds",
        "STORELAB_EXPERIMENTS_TIMEOUT_SECONDS",
        Kind::Count(1, 604_800),
        "after how many seconds an experiment over the API is ended, where that is sooner than `server.seconds_max`",
    ),
    setting("log.format", "LOG_FORMAT", Kind::Choice(&["text", "json"]), "how the log on stderr is written")
        .or("text")
        .everywhere("log-format"),
    setting("log.level", "LOG_LEVEL", Kind::Choice(LEVELS), "from which level on there is a log")
        .or("WARNING")
        .everywhere("log-level"),
    setting(
        "prometheus_url",
        "PROMETHEUS_URL",
        HTTP,
        "a Prometheus whose gauges of a target go into the record (`collect: [prometheus]`)",
    ),
    setting(
        "server.insecure_listen",
        "STORELAB_SERVER_INSECURE_LISTEN",
        Kind::Switch,
        "listen on an address that is not loopback without TLS",
    )
    .or("false")
    .serving("insecure-listen"),
    setting(
        "server.listen",
        "STORELAB_SERVER_LISTEN",
        Kind::Address,
        "the address and port that the service listens on",
    )
    .or("127.0.0.1:8000")
    .serving("listen"),
    setting(
        "server.loopback",
        "STORELAB_SERVER_LOOPBACK",
        Kind::Switch,
        "load may go to this machine without an administrator's word",
    )
    .or("true")
    .serving("loopback"),
    setting(
        "server.names",
        "STORELAB_SERVER_NAMES",
        Kind::Names,
        "host names beside localhost by which browsers may ask the service",
    )
    .serving("names"),
    setting("server.queue_max", "STORELAB_SERVER_QUEUE_MAX", Kind::Count(1, 1_000_000), "most experiments that wait")
        .or("1000")
        .serving("queue-max"),
    setting(
        "server.rate_max",
        "STORELAB_SERVER_RATE_MAX",
        Kind::Count(1, 100_000_000),
        "most operations a second that an experiment may ask for",
    )
    .or("1000000")
    .serving("rate-max"),
    setting(
        "server.rows_max",
        "STORELAB_SERVER_ROWS_MAX",
        Kind::Count(1, 10_000_000_000),
        "most rows that an experiment may load",
    )
    .or("100000000")
    .serving("rows-max"),
    setting(
        "server.runs_max",
        "STORELAB_SERVER_RUNS_MAX",
        Kind::Count(1, 64),
        "most experiments that run at the same time",
    )
    .or("2")
    .serving("runs-max"),
    setting(
        "server.seconds_max",
        "STORELAB_SERVER_SECONDS_MAX",
        Kind::Count(1, 604_800),
        "most seconds that an experiment may run",
    )
    .or("86400")
    .serving("seconds-max"),
    setting(
        "server.sessions_max",
        "STORELAB_SERVER_SESSIONS_MAX",
        SESSIONS,
        "most sessions that an experiment may have",
    )
    .or("1024")
    .serving("sessions-max"),
    setting(
        "server.tls_cert",
        "STORELAB_SERVER_TLS_CERT",
        Kind::Path,
        "a PEM file of the service's certificate and those that signed it; read again when it or the key changes",
    )
    .serving("tls-cert"),
    setting("server.tls_key", "STORELAB_SERVER_TLS_KEY", Kind::Path, "a PEM file of the certificate's private key")
        .serving("tls-key"),
    setting("store", "STORELAB_STORE", Kind::Text, "the results store: an SQLite file, made where it is absent")
        .everywhere("store"),
    setting(
        "telemetry.otlp_endpoint",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        HTTP,
        "an OpenTelemetry collector that traces are sent to, as OTLP over HTTP",
    ),
    secret("telemetry.otlp_headers", "OTEL_EXPORTER_OTLP_HEADERS", "headers for the collector, NAME=VALUE,NAME=VALUE"),
    setting(
        "telemetry.sample_ratio",
        "OTEL_TRACES_SAMPLER_ARG",
        Kind::Fraction,
        "the share of requests that are traced, where whoever asks has not decided it",
    )
    .or("1"),
];
