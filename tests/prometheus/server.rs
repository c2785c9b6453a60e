//! A Prometheus on loopback with a directory of its own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;
use scaletwin_sim::scrape::promql::Series;
use serde_json::Value;
use ureq::Agent;

use crate::answer::Answer;
use crate::series::exposed;

/// A server that answers.
pub(crate) struct Server {
    process: Child,
    address: String,
    agent: Agent,
    /// Its data; removed with it.
    _folder: tempfile::TempDir,
}

/// What came of a start.
pub(crate) enum Started {
    /// It answers.
    Running(Server),
    /// A program is not installed.
    Missing(String),
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way nobody needs it any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Writes the series as blocks and starts a server on them.
    pub(crate) fn start(all: &[Series]) -> Result<Started, Failed> {
        for program in ["prometheus", "promtool"] {
            if Command::new(program).arg("--version").output().is_err() {
                return Ok(Started::Missing(format!("there is no program {program}")));
            }
        }
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("series.txt"), exposed(all))?;
        std::fs::write(at("prometheus.yml"), "")?;
        let blocks = Command::new("promtool")
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([at("series.txt"), at("data")])
            .output()?;
        if !blocks.status.success() {
            return Err(String::from_utf8_lossy(&blocks.stderr).into_owned().into());
        }
        let address = format!("127.0.0.1:{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", at("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", at("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--storage.tsdb.retention.time=100y", "--log.level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let agent = Agent::config_builder().http_status_as_error(false).build().into();
        let server = Server { process, address, agent, _folder: folder };
        server.wait()?;
        Ok(Started::Running(server))
    }

    /// Waits until it is ready, half a minute at most.
    fn wait(&self) -> Result<(), Failed> {
        for _ in 0..300 {
            let answer = self.agent.get(format!("http://{}/-/ready", self.address)).call();
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("prometheus was not ready after 30 s".into())
    }

    /// Its answer to a query at an instant, ms since 1970.
    pub(crate) fn ask(&self, query: &str, at: i64) -> Result<Answer, Failed> {
        let time = format!("{}.{:03}", at / 1000, at % 1000);
        let request = self.agent.post(format!("http://{}/api/v1/query", self.address));
        let mut answer =
            request.send_form([("query", query), ("time", &time)]).map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        Answer::theirs(&value).ok_or_else(|| format!("{query}: {text}").into())
    }
}
