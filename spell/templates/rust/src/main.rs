//! Greets a person: reads a JSON string from stdin, writes a JSON string to stdout.
use std::io::{self, Read};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut input = String::new();
    if let Err(error) = io::stdin().take(64 * 1024).read_to_string(&mut input) {
        eprintln!("The input cannot be read: {error}.");
        return ExitCode::FAILURE;
    }
    // The input fits `input_schema`, so it is a string: what stands between its quotes is copied as it is.
    let name = input
        .trim()
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match name {
        Some(name) => {
            println!("\"Hello, {name}!\"");
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("The input is not a JSON string. Send one, like \"Ada\".");
            ExitCode::FAILURE
        }
    }
}
