//! `scaletwin trace import`: what is sent to a server that asks who comes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use crate::program::Folder;

/// A server on loopback that answers one question, and the lines of the question.
fn asked(folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> (Vec<String>, i32, String) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
    let url = format!("http://{}", server.local_addr().expect("its address"));
    let answers = thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("the program asks");
        let lines = BufReader::new(stream.try_clone().expect("the stream")).lines();
        let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let body = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1714521600,"2"]]}]}}"#;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).expect("the program listens");
        head
    });
    let done = Command::new(env!("CARGO_BIN_EXE_scaletwin"))
        .args(["trace", "import", "prometheus", &url, "--query", "up", "--step", "1m", "--out", "p.json"])
        .args(["--start", "2024-05-01T00:00:00Z", "--end", "2024-05-01T00:01:00Z"])
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(folder.path(""))
        .output()
        .expect("the program runs");
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    (answers.join().expect("the server"), done.status.code().unwrap_or(-1), told)
}

#[test]
fn tokens_and_passwords_come_from_the_environment_or_a_file() {
    let folder = Folder::with(&[("headers", b"X-Scope-OrgID: team\n\nAuthorization: Bearer of-file\n")]);
    let has = |(head, code, told): (Vec<String>, i32, String), expected: &str| {
        assert_eq!(code, 0, "{told}");
        assert!(head.iter().any(|line| line.eq_ignore_ascii_case(expected)), "{expected}: {head:?}");
    };
    has(asked(&folder, &[], &[("SCALETWIN_PROMETHEUS_TOKEN", "secret")]), "authorization: Bearer secret");
    let pair = [("SCALETWIN_PROMETHEUS_USER", "Aladdin"), ("SCALETWIN_PROMETHEUS_PASSWORD", "open sesame")];
    // The example of RFC 7617.
    has(asked(&folder, &[], &pair), "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    let file = asked(&folder, &["--header-file", "headers"], &[("SCALETWIN_PROMETHEUS_TOKEN", "secret")]);
    assert_eq!(
        file.0.iter().filter(|line| line.to_ascii_lowercase().starts_with("authorization")).count(),
        1
    );
    has((file.0.clone(), file.1, file.2.clone()), "authorization: Bearer of-file");
    has(file, "x-scope-orgid: team");
}

#[test]
fn what_would_show_a_secret_is_refused_without_showing_it() {
    let folder = Folder::with(&[("headers", b"top-secret\n")]);
    let import = |url: &str, more: &[&str]| {
        let start = ["--start", "2024-05-01T00:00:00Z", "--end", "2024-05-01T00:01:00Z"];
        let ask = ["trace", "import", "prometheus", url, "--query", "up", "--step", "1m", "--out", "p.json"];
        folder.run(&[&ask[..], &start, more].concat())
    };
    let done = import("http://me:top-secret@localhost:1", &[]);
    assert!(done.code == 2 && done.err.contains("--header-file"), "{}", done.err);
    assert!(!done.err.contains("top-secret"), "{}", done.err);
    let done = import("http://localhost:1", &["--header-file", "headers"]);
    assert!(done.code == 2 && done.err.contains("headers:1: expected NAME: VALUE"), "{}", done.err);
    assert!(!done.err.contains("top-secret"), "{}", done.err);
}
