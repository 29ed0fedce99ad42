use std::ops::ControlFlow;
use std::path::Path;
use tapewatch::offline::{backtest, evaluation};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let c = tapewatch::config::Config::load(a.get(2).map(Path::new)).unwrap();
    let t = std::time::Instant::now();
    let d = Path::new(&a[1]);
    let art = backtest::fit_folder(&d.join("train"), &c, &mut |p| {
        if std::env::var("V").is_ok() {
            eprint!("\r{p:?}   ");
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    eprintln!("\nfit {:?} loss {}", t.elapsed(), art.provenance.loss);
    let t = std::time::Instant::now();
    let out = backtest::score_folder(&d.join("train"), &d.join("test"), &art, &c).unwrap();
    eprintln!("score {:?}", t.elapsed());
    let labels = evaluation::read_labels(&d.join("labels.csv")).unwrap();
    println!(
        "{}",
        evaluation::table(&evaluation::evaluate(&out.scores, &labels).unwrap())
    );
    let f = evaluation::evaluate_alerts(&out.alerts, &labels).unwrap();
    println!("alerts: recall {} fa/10k {}", f.recall, f.false_alarms_per_10k);
}
