//! `scaletwin trace import` against a real Prometheus on loopback.
//!
//! Without the program `prometheus` each test counts as ignored, with the reason; `SCALETWIN_REQUIRE=prometheus` turns that
//! into a failure.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

type Test = (&'static str, fn() -> Result<(), Failed>);

const TESTS: [Test; 2] = [
    ("rates_of_a_prometheus_become_a_trace", rates_become_a_trace),
    ("what_a_prometheus_refuses_is_told", refusals_are_told),
];

fn main() {
    let arguments = Arguments::from_args();
    let installed =
        Command::new("prometheus").arg("--version").output().is_ok_and(|done| done.status.success());
    let required =
        std::env::var("SCALETWIN_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name == "prometheus"));
    let trial = |(name, test): Test| {
        Trial::ignorable_test(name, move || match installed {
            true => test().map(|()| Completion::Completed),
            false if required => Err("prometheus is not installed, and SCALETWIN_REQUIRE asks for it".into()),
            false => Ok(Completion::ignored_with("the program prometheus is not installed")),
        })
    };
    libtest_mimic::run(&arguments, TESTS.into_iter().map(trial).collect()).exit();
}

/// A Prometheus with two hours of a counter: 4 requests a second in the first hour, 9 in the second.
struct Prometheus {
    program: Child,
    port: u16,
    folder: tempfile::TempDir,
}

/// The first instant of the counter, seconds since 1970.
const START: u64 = 1_714_550_400;

impl Prometheus {
    fn start() -> Result<Prometheus, Failed> {
        let folder = tempfile::tempdir()?;
        backfill(folder.path())?;
        std::fs::write(folder.path().join("prometheus.yml"), "scrape_configs: []\n")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let program = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Prometheus { program, port, folder };
        for _ in 0..300 {
            if server.is_ready() {
                return Ok(server);
            }
            sleep(Duration::from_millis(100));
        }
        Err("prometheus does not become ready".into())
    }

    fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.contains(" 200 "))
    }

    /// Runs `scaletwin trace` in its folder: exit code, stdout, stderr.
    fn trace(&self, arguments: &[&str]) -> Result<(i32, String, String), Failed> {
        let done = Command::new(env!("CARGO_BIN_EXE_scaletwin"))
            .arg("trace")
            .args(arguments)
            .current_dir(self.folder.path())
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr)))
    }

    fn import(&self, query: &str, step: &str, out: &str) -> Result<(i32, String, String), Failed> {
        let url = format!("http://127.0.0.1:{}", self.port);
        let (start, end) = ("2024-05-01T08:10:00Z", "2024-05-01T09:50:00Z");
        let from = ["import", "prometheus", &url, "--query", query, "--start", start, "--end", end];
        self.trace(&[&from[..], &["--step", step, "--out", out]].concat())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Writes blocks of samples, one every 15 s.
fn backfill(folder: &Path) -> Result<(), Failed> {
    let mut text = String::from("# TYPE requests counter\n");
    let mut total = 0;
    for sample in 0..=480u64 {
        text.push_str(&format!("requests_total {total} {}\n", START + sample * 15));
        total += 15 * if sample < 240 { 4 } else { 9 };
    }
    text.push_str("# EOF\n");
    std::fs::write(folder.join("samples"), text)?;
    let done = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics", "samples", "data"])
        .current_dir(folder)
        .output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("promtool: {}", String::from_utf8_lossy(&done.stderr)).into())
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what().into()) }
}

fn rates_become_a_trace() -> Result<(), Failed> {
    let server = Prometheus::start()?;
    let (code, _, told) = server.import("sum(rate(requests_total[1m]))", "1m", "p.json")?;
    // 101 samples: 50 minutes and the first at 4/s, 50 at 9/s, but for the one that has both.
    check(code == 0 && told.contains("1 series, 101 samples"), || format!("{code} {told}"))?;
    let (code, facts, told) = server.trace(&["inspect", "p.json", "--format", "prometheus"])?;
    check(code == 0, || told)?;
    let count = facts.lines().find_map(|line| line.strip_prefix("requests ")).unwrap_or_default();
    let count: u64 = count.trim().parse()?;
    check(count.abs_diff(51 * 60 * 4 + 50 * 60 * 9) < 300, || format!("{count} requests"))?;
    check(facts.contains("first request          2024-05-01T08:09:0"), || facts.clone())?;
    // Steps of half a second are asked for in parts: more than 11 000 samples at once would be refused.
    let (code, _, told) = server.import("sum(rate(requests_total[1m]))", "500ms", "many.json")?;
    check(code == 0 && told.contains("12001 samples"), || format!("{code} {told}"))
}

fn refusals_are_told() -> Result<(), Failed> {
    let server = Prometheus::start()?;
    let (code, _, told) = server.import("sum(rate(", "1m", "p.json")?;
    check(code == 2 && told.contains("parse error"), || format!("{code} {told}"))?;
    let (code, _, told) = server.import("nothing", "1m", "p.json")?;
    check(code == 2 && told.contains("has no sample"), || format!("{code} {told}"))
}
