//! `mainstay-hub`.

use std::process::ExitCode;

fn main() -> ExitCode {
    vault::tls::install_provider();
    mainstay_hub::cli::main()
}
