//! The messages of the protocol, generated from `proto/inference.proto`, and their description for reflection.
//!
//! Both are checked in, so that building the server needs neither protoc nor a generator; a test compares them with what the definition
//! gives. After a change of the definition: `UPDATE_PROTO=1 cargo test -p repserve http::grpc::proto`.

#[allow(missing_docs, unreachable_pub, clippy::doc_markdown, clippy::enum_variant_names)]
mod generated {
    include!("generated/inference.rs");
}

pub(in crate::http) use generated::*;

/// The definition as an encoded `FileDescriptorSet`.
pub(super) const DESCRIPTOR: &[u8] = include_bytes!("generated/inference.bin");

/// The service's full name.
pub(super) const SERVICE: &str = "inference.GRPCInferenceService";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use protox::Compiler;

    /// The generated code and the encoded description.
    fn generate() -> (Vec<u8>, Vec<u8>) {
        let mut compiler = Compiler::new([Path::new(env!("CARGO_MANIFEST_DIR")).join("proto")]).unwrap();
        compiler.include_source_info(true).open_file("inference.proto").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut config = prost_build::Config::new();
        config.bytes(["."]).btree_map(["."]).out_dir(folder.path());
        config.compile_fds(compiler.file_descriptor_set()).unwrap();
        let code = std::fs::read(folder.path().join("inference.rs")).unwrap();
        compiler.include_source_info(false);
        (code, compiler.encode_file_descriptor_set())
    }

    #[test]
    fn what_is_checked_in_is_what_the_definition_gives() {
        let (code, descriptor) = generate();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/grpc/generated");
        for (name, generated) in [("inference.rs", code), ("inference.bin", descriptor)] {
            let path = folder.join(name);
            if std::env::var_os("UPDATE_PROTO").is_some() {
                std::fs::write(&path, &generated).unwrap();
            }
            let there = std::fs::read(&path).unwrap();
            assert!(
                there == generated,
                "{} is not what proto/inference.proto gives",
                path.display()
            );
        }
    }
}
