//! A real Apache Kafka broker for the tests of what librdkafka's mock cluster lacks: transactions, fencing, compaction,
//! time look-ups, admin calls.
//!
//! The broker is one Java process per [`Kafka`], on free ports of the loopback, with its data in a temporary folder;
//! its jars come by Maven, once, into cargo's folder for test files. `TAPEWATCH_TEST_BROKERS` names a running cluster
//! to use instead. Where there is neither, tests skip themselves, save in CI.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::TcpListener;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::{Client, REQUEST_BYTES_MAX};

/// The oldest Java that runs a broker of Kafka 4.
const JAVA_MIN: u32 = 17;
/// Maven's 46 jars, 43 MB: seconds on a usual line, minutes on a poor one.
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(300);
/// Formatting the broker's storage and other short Java programs: a second, on a loaded machine five.
const TOOL_DEADLINE: Duration = Duration::from_secs(60);
/// The broker answers after 3–4 s, on a loaded machine after 15.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long the broker is waited for before it is checked whether its process still lives.
const ANSWER_POLL: Duration = Duration::from_secs(1);
/// Between choosing a free port and binding it another program may take it, which is rare: hardly ever thrice.
const START_ATTEMPTS: usize = 3;
/// Lines of the broker's log shown when it does not start: a Java stack trace with what led to it.
const LOG_TAIL_LINES: usize = 60;

const POM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/pom.xml");
/// 16 bytes in base64, as Kafka wants it.
const CLUSTER_ID: &str = "dGFwZXdhdGNoLXRlc3RzIQ";
const SKIPPED: &str = "skipped: real Kafka tests need Java 17 with Maven, or TAPEWATCH_TEST_BROKERS";

/// A real cluster, to be used as a [`Client`]; a broker started for it ends with it.
#[derive(Debug)]
pub struct Kafka {
    client: Client,
    broker: Option<Broker>,
}

impl Kafka {
    /// Ends the broker, without a chance to tidy up.
    ///
    /// # Panics
    /// When it is not one of ours.
    pub fn kill(&mut self) {
        let broker = self.broker.as_mut().expect("a broker of ours");
        broker.process.kill().unwrap();
        broker.process.wait().unwrap();
    }

    /// Starts the broker that was killed, with what it had.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        let broker = self.broker.as_mut().expect("a broker of ours");
        broker.process = spawn(&broker.libs, broker.folder.path()).unwrap();
        assert!(self.client.answers(START_DEADLINE), "the broker does not start again");
    }
}

/// A broker that asks for a name and a password within TLS, beside its plain address.
#[derive(Debug)]
pub struct Secured {
    pub kafka: Kafka,
    /// Where it asks.
    pub address: String,
    /// The certificate to trust.
    pub ca: PathBuf,
}

/// The name and the password that a secured broker knows.
pub const USER: &str = "tapewatch";
pub const PASSWORD: &str = "the-right-password";

impl Secured {
    /// Changes the password.
    pub fn change_password(&self, password: &str) {
        let broker = self.kafka.broker.as_ref().expect("a broker of ours");
        let mut command = java(&broker.libs, broker.folder.path());
        command
            .args(["kafka.admin.ConfigCommand", "--bootstrap-server", &self.kafka.brokers])
            .args([
                "--alter",
                "--entity-type",
                "users",
                "--entity-name",
                USER,
                "--add-config",
            ])
            .arg(format!("SCRAM-SHA-512=[password={password}]"));
        run(command, TOOL_DEADLINE).unwrap_or_else(|failure| panic!("the password was not changed: {failure}"));
    }
}

/// Starts a secured broker; `None`, after saying so, where no broker of ours can be started.
///
/// # Panics
/// As [`start_or_skip`].
pub fn start_secured_or_skip() -> Option<Secured> {
    if env::var("TAPEWATCH_TEST_BROKERS").is_ok() {
        eprintln!("skipped: a secured broker must be one of ours");
        return None;
    }
    let kafka = libs_or_skip().map(|libs| start(&libs, true))?;
    let broker = kafka.broker.as_ref()?;
    let (address, ca) = (
        format!("localhost:{}", broker.secure_port),
        broker.folder.path().join("ca.pem"),
    );
    Some(Secured { kafka, address, ca })
}

impl Deref for Kafka {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Connects to `TAPEWATCH_TEST_BROKERS` or starts a broker; `None`, after saying so, when neither can be.
///
/// # Panics
/// When the cluster named does not answer, or Kafka is there but does not start; in CI (`CI=true`) also instead of
/// skipping.
pub fn start_or_skip() -> Option<Kafka> {
    if let Ok(brokers) = env::var("TAPEWATCH_TEST_BROKERS") {
        let client = Client::new(brokers);
        assert!(
            client.answers(START_DEADLINE),
            "TAPEWATCH_TEST_BROKERS={} does not answer",
            client.brokers
        );
        return Some(Kafka { client, broker: None });
    }
    libs_or_skip().map(|libs| start(&libs, false))
}

fn libs_or_skip() -> Option<PathBuf> {
    static LIBS: OnceLock<Result<Option<PathBuf>, String>> = OnceLock::new();
    match LIBS.get_or_init(find_libs) {
        Ok(Some(libs)) => Some(libs.clone()),
        Ok(None) if env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{SKIPPED}"),
        Ok(None) => {
            eprintln!("{SKIPPED}");
            None
        }
        Err(reason) => panic!("the jars of Kafka could not be fetched: {reason}"),
    }
}

fn start(libs: &Path, is_secured: bool) -> Kafka {
    let mut attempt = 1;
    loop {
        match Broker::start(libs, is_secured) {
            Ok((client, broker)) => {
                return Kafka {
                    client,
                    broker: Some(broker),
                };
            }
            Err(reason) if reason.contains("Address already in use") && attempt < START_ATTEMPTS => attempt += 1,
            Err(reason) => panic!("Kafka did not start: {reason}"),
        }
    }
}

/// The broker's process and its folder.
#[derive(Debug)]
struct Broker {
    process: Child,
    libs: PathBuf,
    secure_port: u16,
    /// Removed after `drop` has ended the process.
    folder: TempDir,
}

/// Starts the broker whose configuration is in the folder.
fn spawn(libs: &Path, folder: &Path) -> Result<Child, String> {
    let log_path = folder.join("log.txt");
    let log = File::create(&log_path).and_then(|log| Ok((log.try_clone()?, log)));
    let (stdout, stderr) = log.map_err(|error| format!("{} was not made: {error}", log_path.display()))?;
    java(libs, folder)
        .arg("kafka.Kafka")
        .arg(folder.join("server.properties"))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .map_err(|error| format!("java was not run: {error}"))
}

/// Makes a key for the broker, and the certificate that clients are to trust.
fn make_key(folder: &Path) -> Result<(), String> {
    let keytool = |arguments: &[&str]| {
        let mut command = Command::new("keytool");
        command.current_dir(folder).args(arguments);
        command.args(["-alias", "broker", "-keystore", "key.p12", "-storetype", "PKCS12"]);
        command.args(["-storepass", "of-the-key"]);
        run(command, TOOL_DEADLINE).map_err(|failure| failure.to_string())
    };
    let names = "san=dns:localhost,ip:127.0.0.1";
    let name = [
        "-dname",
        "CN=localhost",
        "-ext",
        names,
        "-keyalg",
        "RSA",
        "-validity",
        "30",
    ];
    keytool(&[&["-genkeypair"], &name[..]].concat())?;
    keytool(&["-exportcert", "-rfc", "-file", "ca.pem"])?;
    Ok(())
}

impl Broker {
    fn start(libs: &Path, is_secured: bool) -> Result<(Client, Self), String> {
        let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        let [port, controller_port, secure_port] = free_ports().map_err(|error| format!("no free ports: {error}"))?;
        let config = folder.path().join("server.properties");
        let mut properties = server_properties(&folder.path().join("data"), port, controller_port);
        if is_secured {
            make_key(folder.path())?;
            properties = secured(&properties, port, secure_port);
        }
        fs::write(&config, properties).map_err(|error| format!("{} was not written: {error}", config.display()))?;

        let mut format = java(libs, folder.path());
        format
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
            .arg(&config);
        if is_secured {
            let user = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
            format.args(["-S", &user]);
        }
        run(format, TOOL_DEADLINE).map_err(|failure| failure.to_string())?;

        let log_path = folder.path().join("log.txt");
        let process = spawn(libs, folder.path())?;
        let mut broker = Self {
            process,
            libs: libs.into(),
            secure_port,
            folder,
        };

        let client = Client::new(format!("127.0.0.1:{port}"));
        let deadline = Instant::now() + START_DEADLINE;
        while !client.answers(ANSWER_POLL) {
            let ended = broker
                .process
                .try_wait()
                .map_err(|error| format!("lost sight of java: {error}"))?;
            let reason = match ended {
                Some(status) => format!("java ended with {status}"),
                None if Instant::now() >= deadline => format!("no answer within {START_DEADLINE:?}"),
                None => continue,
            };
            return Err(format!("{reason}; the end of its log:\n{}", tail(&log_path)));
        }
        Ok((client, broker))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only when the process has ended and was reaped already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One process as broker and controller; small where the defaults prepare for a large cluster.
fn server_properties(data: &Path, port: u16, controller_port: u16) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={}
auto.create.topics.enable=false
message.max.bytes={REQUEST_BYTES_MAX}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=100
offsets.topic.num.partitions=2
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.cleaner.backoff.ms=100
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=2
",
        data.display()
    )
}

/// Adds a listener that asks for a password within TLS. Whoever comes by the plain one may do everything, others what no rule
/// denies.
fn secured(properties: &str, port: u16, secure_port: u16) -> String {
    let plain = format!("listeners=PLAINTEXT://127.0.0.1:{port},");
    let both = format!("listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{secure_port},");
    let named = format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port}");
    let properties = properties
        .replace(&plain, &both)
        .replace(&named, &format!("{named},SASL_SSL://localhost:{secure_port}"))
        .replace("map=PLAINTEXT:PLAINTEXT", "map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL");
    properties
        + "inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PKCS12
ssl.keystore.location=key.p12
ssl.keystore.password=of-the-key
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:ANONYMOUS
"
}

/// Ports that are free now, held at once so that they differ.
fn free_ports() -> io::Result<[u16; 3]> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let held = [bind()?, bind()?, bind()?];
    let port = |held: &TcpListener| held.local_addr().map(|address| address.port());
    Ok([port(&held[0])?, port(&held[1])?, port(&held[2])?])
}

/// Java with Kafka's classes, leaving nothing outside `folder` when it is killed.
fn java(libs: &Path, folder: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .current_dir(folder)
        .args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"])
        .arg(format!("-Djava.io.tmpdir={}", folder.display()))
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-cp")
        .arg(libs.join("*"));
    command
}

/// The folder with Kafka's jars, fetched when it is not there; `None` without Java, or without both Maven and the jars.
fn find_libs() -> Result<Option<PathBuf>, String> {
    let mut version = Command::new("java");
    version.arg("--version");
    let java = match run(version, TOOL_DEADLINE) {
        Ok(text) => java_version(&text),
        // Java 8 ends with an error here.
        Err(Failure::Missing | Failure::Other(_)) => None,
    };
    if java.is_none_or(|java| java < JAVA_MIN) {
        return Ok(None);
    }
    let libs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka-libs");
    if is_whole(&libs) {
        return Ok(Some(libs));
    }
    match fetch(&libs) {
        Ok(()) => Ok(Some(libs)),
        Err(Failure::Missing) => Ok(None),
        Err(Failure::Other(reason)) => Err(reason),
    }
}

/// 17 from `openjdk 17.0.15 2025-04-15`, 24 from `java 24-ea 2025-03-18`.
fn java_version(text: &str) -> Option<u32> {
    let version = text.split_whitespace().nth(1)?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Whether the folder was filled by [`fetch`] from the `pom.xml` of today.
fn is_whole(libs: &Path) -> bool {
    match (fs::read(libs.join("pom.xml")), fs::read(POM)) {
        (Ok(filled_from), Ok(pom)) => filled_from == pom,
        _ => false,
    }
}

/// Fills a folder beside `libs` and renames it, so that `libs` is whole whenever it is there, whoever else fetches too.
fn fetch(libs: &Path) -> Result<(), Failure> {
    let beside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let fetched = beside.path().join("kafka-libs");
    let mut maven = Command::new("mvn");
    maven
        .args([
            "-q",
            "-B",
            "-f",
            POM,
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
        ])
        .arg(format!("-DoutputDirectory={}", fetched.display()));
    run(maven, DOWNLOAD_DEADLINE)?;
    fs::copy(POM, fetched.join("pom.xml"))?;
    if fs::rename(&fetched, libs).is_ok() || is_whole(libs) {
        // Not renamed, yet whole: another test process was first.
        return Ok(());
    }
    // What stands in the way comes from an older `pom.xml`.
    fs::remove_dir_all(libs)?;
    Ok(fs::rename(&fetched, libs)?)
}

/// Why a program gave no result.
#[derive(Debug)]
enum Failure {
    /// It is not installed.
    Missing,
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("program not found"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// Runs a program to its end and returns what it printed; ends it after `timeout`.
fn run(mut command: Command, timeout: Duration) -> Result<String, Failure> {
    let name = command.get_program().display().to_string();
    let (mut output, input) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
    let mut process = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Missing,
        _ => Failure::Other(format!("{name} was not run: {error}")),
    })?;
    // Our ends of the pipe go with it, so that the program's end is the end of its output.
    drop(command);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.read_to_end(&mut bytes);
        // Nobody listens any more after the timeout.
        let _ = sender.send(read.map(|_| String::from_utf8_lossy(&bytes).into_owned()));
    });
    let output = receiver.recv_timeout(timeout);
    if output.is_err() {
        process.kill()?;
    }
    let status = process.wait()?;
    match output {
        Err(_) => Err(Failure::Other(format!("{name} took longer than {timeout:?}"))),
        Ok(output) => match output? {
            output if status.success() => Ok(output),
            output => Err(Failure::Other(format!("{name} ended with {status}:\n{output}"))),
        },
    }
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}
