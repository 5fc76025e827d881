mod network;
mod text;
mod train;
use std::path::Path;
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = Path::new("examples/data");
    let text = text::Text::open(&data.join("nano"))?;
    let rows = text.rows(&data.join("emoji8/train.tsv"))?;
    let net = network::Network::open(Path::new("/work/shared/data/nano/run1.safetensors"), 2, 2)?;
    println!("{} rows; run1 loss on 64 rows: {}", rows.len(), net.loss(&text::Batch::of(rows[..64].iter()))?);
    let net = network::Network::open(&data.join("nano/init.safetensors"), 2, 2)?;
    let mut t = train::Training::new(net)?;
    let dev = text.rows(&data.join("emoji8/dev.tsv"))?;
    let db = text::Batch::of(dev.iter());
    let start = std::time::Instant::now();
    for e in 0..12 {
        let mut sum = 0.0;
        let mut n = 0;
        for b in train::epoch(&rows, e) {
            sum += t.step(&b)?;
            n += 1;
        }
        println!(
            "epoch {e} step {} loss {} dev {} {:?}",
            t.steps(),
            sum / n as f32,
            t.network().loss(&db)?,
            start.elapsed()
        );
    }
    Ok(())
}
