//! Bytes and round trips to find and mend what two ends hold differently.

use anyhow::{Result, anyhow};
use clap::Args;
use tests::simulation::repair_figure;

#[derive(Args)]
pub(crate) struct Wanted {
    #[arg(long, default_value_t = 20_000)]
    records: usize,
    #[arg(long, default_value_t = 100)]
    differing: usize,
}

pub(crate) fn measure(wanted: &Wanted) -> Result<()> {
    let figure = repair_figure(wanted.records, wanted.differing).map_err(|error| anyhow!(error))?;
    println!(
        "repair: {} of {} records differed; {} mended in {} round trips, {} bytes up and {} down (the rows alone: {} \
         before compression), {:.1?} of work at both ends",
        wanted.differing,
        wanted.records,
        figure.mended,
        figure.round_trips,
        figure.bytes_up,
        figure.bytes_down,
        figure.rows_bytes,
        figure.took,
    );
    Ok(())
}
