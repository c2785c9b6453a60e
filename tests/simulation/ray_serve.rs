//! Ray Serve's autoscaler through the whole simulator, checked by hand on a time line.
//!
//! Twenty clients always have one request each in the system, up to 100 s. The handle's first report comes at p, below 10 s;
//! the controller looks at 0 s, 0.1 s, … At the first look from p on it wants 20 / 2 = 10 replicas, and 30 s later it gets
//! them: what is wanted by rounding above that is cut by the bound.

use scaletwin_core::model::Snapshot;
use scaletwin_core::units::{Span, Time};

use crate::running::{record, scenario, start};
use crate::timeline::{codes, scaled};

fn text(config: &str) -> String {
    format!(
        "
name: ray
seed: 5
duration: 300s
end: cut
services:
  - name: web
    queue: {{}}
    deployments:
      - name: main
        engine: {{kind: concurrency, limit: 1000, service_time: 1s}}
        cold_start: 5s
traffic:
  - {{name: steady, until: 100s, clients: {{count: 20}}}}
  - {{name: late, from: 250070ms, until: 251s, clients: {{count: 1}}}}
policy:
  controllers:
    - kind: ray-serve
      target: web
      offset: 0s
      autoscaling_config: {config}
"
    )
}

const CONFIG: &str = "{min_replicas: 1, max_replicas: 10, downscale_delay_s: 60}";

#[test]
fn replicas_come_after_the_delay() {
    let record = record(&text(CONFIG));
    let steps = scaled(&record);
    let reasons = codes(&record, "Autoscaling");
    // Nothing is reported yet, which Ray takes for no request.
    assert_eq!(reasons[0], (0.0, "DownscaleDelayed".to_owned()));
    let (delayed, code) = &reasons[1];
    assert_eq!(code, "UpscaleDelayed");
    assert!(*delayed < 10.1, "{delayed}");
    assert!((steps[0].0 - delayed - 30.0).abs() < 1e-6, "{delayed} {steps:?}");
    assert_eq!(steps[0].1, 10);
}

#[test]
fn replicas_go_after_their_delay_and_one_stays() {
    let record = record(&text(CONFIG));
    let reasons = codes(&record, "Autoscaling");
    let down = reasons.iter().position(|(_, code)| code == "Downscaled").expect("it goes down");
    let delayed = reasons[..down].iter().rfind(|(_, code)| code == "DownscaleDelayed").expect("a delay");
    assert!((reasons[down].0 - delayed.0 - 60.0).abs() < 1e-6, "{reasons:?}");
    assert!(delayed.0 > 100.0);
    assert_eq!(scaled(&record).last().map(|(_, replicas)| *replicas), Some(1));
}

#[test]
fn it_goes_to_zero_from_one_and_the_next_look_after_a_request_brings_one_back() {
    let config = "{min_replicas: 0, max_replicas: 10, downscale_delay_s: 30, downscale_to_zero_delay_s: 20}";
    let record = record(&text(config));
    let steps = scaled(&record);
    let zero = steps.iter().position(|(_, replicas)| *replicas == 0).expect("it goes to zero");
    assert_eq!(steps[zero - 1].1, 1, "{steps:?}");
    assert!((steps[zero + 1].0 - 250.1).abs() < 1e-6, "{steps:?}");
    assert_eq!(steps[zero + 1].1, 1);
}

#[test]
fn a_cut_run_decides_as_the_uncut_one() {
    let scenario = scenario(&text(CONFIG));
    let uncut = start(&scenario).finish().expect("a run comes to its end");
    let mut run = start(&scenario);
    let at = Time::ZERO + Span::from_millis(33_333);
    assert!(!run.run_until(at).expect("a run goes on"));
    let written = run.snapshot(at).and_then(|snapshot| snapshot.to_json()).expect("a run can be written");
    let snapshot = Snapshot::from_json(&written).expect("what was written can be read");
    let record = scenario.resume(&snapshot).expect("its own snapshot fits").finish().expect("it goes on");
    assert_eq!(record.decisions, uncut.decisions);
    assert_eq!(record.summary, uncut.summary);
}
