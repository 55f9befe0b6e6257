//! The `repserve` binary: everything is in the library.
#![allow(
    unsafe_code,
    reason = "the environment can only be changed while there is one thread, which only `main` knows"
)]

/// ONNX Runtime's own switch. Its official Linux builds since 1.29 report to their maker which models are loaded, unless this is set
/// before they are.
const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

fn main() -> ! {
    if std::env::var_os(NO_TELEMETRY).is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var(NO_TELEMETRY, "1") };
    }
    repserve::cli::run(std::env::args_os()).exit()
}
