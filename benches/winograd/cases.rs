//! What is measured: networks, image sizes, batches, sessions.

use bytes::Bytes;
use repserve_compile::{Fused, Source};
use repserve_graph::onnx;
use repserve_graph::{Dim, Model};
use repserve_measure::synth::{ARCHITECTURES, repvgg, resnet18};

/// Sessions that run at one time.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Sessions {
    One,
    Two,
    Wide,
}

pub(crate) struct Case {
    name: &'static str,
    size: [usize; 2],
    pub(crate) batch: usize,
    pub(crate) sessions: Sessions,
}

const fn case(name: &'static str, size: [usize; 2], batch: usize, sessions: Sessions) -> Case {
    Case {
        name,
        size,
        batch,
        sessions,
    }
}

pub(crate) const CASES: [Case; 17] = [
    case("repvgg-a0", [224, 224], 1, Sessions::One),
    case("repvgg-a0", [224, 224], 4, Sessions::One),
    case("repvgg-b0", [224, 224], 1, Sessions::One),
    case("repvgg-b0", [224, 224], 4, Sessions::One),
    case("repvgg-b1g4", [224, 224], 1, Sessions::One),
    case("default", [32, 32], 1, Sessions::One),
    case("default", [32, 32], 8, Sessions::One),
    case("repvgg-a0", [224, 224], 1, Sessions::Two),
    case("repvgg-a0", [224, 224], 2, Sessions::Two),
    case("repvgg-a0", [224, 224], 4, Sessions::Two),
    case("repvgg-a0", [224, 224], 1, Sessions::Wide),
    case("repvgg-b0", [224, 224], 1, Sessions::Wide),
    case("resnet-18", [224, 224], 1, Sessions::One),
    case("repvgg-a0", [320, 320], 1, Sessions::One),
    case("repvgg-a0", [225, 193], 1, Sessions::One),
    case("repvgg-b0", [320, 320], 1, Sessions::One),
    case("repvgg-b1g4", [225, 193], 1, Sessions::One),
];

impl Case {
    pub(crate) fn network(&self) -> String {
        format!("{} {}x{}", self.name, self.size[0], self.size[1])
    }

    /// Two cells of the table: the network, and how it runs.
    pub(crate) fn label(&self) -> String {
        let sessions = match self.sessions {
            Sessions::One => "one thread",
            Sessions::Two => "two sessions at once",
            Sessions::Wide => "two threads",
        };
        format!("{} | batch {}, {sessions}", self.network(), self.batch)
    }

    pub(crate) fn shape(&self) -> [usize; 3] {
        [3, self.size[0], self.size[1]]
    }

    /// The fused graph.
    pub(crate) fn fused(&self) -> Fused {
        let train = match self.name {
            "default" => Bytes::from_static(include_bytes!("../../models/repvgg-cifar10/model.onnx")),
            name => {
                let repvgg = |a| repvgg(a, self.size[0], 1000, 1);
                let known = ARCHITECTURES.iter().find(|a| a.name == name);
                let mut model = known.map_or_else(|| resnet18(self.size[0], 1000, 1), repvgg);
                self.resize(&mut model);
                onnx::write(model).unwrap().into()
            }
        };
        let source = Source {
            onnx: train,
            ..Source::default()
        };
        let fused = Fused::new(source).unwrap();
        assert_eq!(fused.report().deploy.count("BatchNormalization"), 0);
        fused
    }

    fn resize(&self, model: &mut Model) {
        let input = model.graph.inputs[0];
        if let Some([.., height, width]) = model.graph.value_mut(input).shape.as_deref_mut() {
            (*height, *width) = (Dim::Fixed(self.size[0]), Dim::Fixed(self.size[1]));
        }
    }
}
