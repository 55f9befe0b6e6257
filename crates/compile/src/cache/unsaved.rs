//! What was found out and is to be kept.

use bytes::Bytes;
use repserve_cache::{Key, Section, Store, StoreError};
use repserve_runtime::Pool;

use super::super::compiled::{Checks, Compiled, Graph};
use super::super::error::CompileError;
use super::super::verify::run_image;
use super::external::Files;
use super::graph::{DEPLOY, GraphRecord};
use super::sessions::{Answers, SessionsRecord};
use super::{GRAPH, PROBE, RECORD, SESSIONS, bytes};

/// What was found out and the store does not hold yet. To write it takes some tenths of a second, which a start need not wait for.
#[derive(Debug, Default)]
pub struct Unsaved {
    store: Option<Store>,
    entries: Vec<Unwritten>,
}

#[derive(Debug)]
struct Unwritten {
    kind: &'static str,
    key: Key,
    sections: Vec<(&'static str, Bytes)>,
    /// Whose parts are sections too.
    pool: Option<Pool>,
}

impl Unsaved {
    pub(super) fn in_store(store: Store) -> Self {
        Self {
            store: Some(store),
            entries: Vec::new(),
        }
    }

    /// Takes note of a graph that was verified.
    pub(super) fn graph(&mut self, key: Key, graph: &Graph, external: &Files) -> Result<(), CompileError> {
        let record = GraphRecord::of(graph, external);
        let probe = graph.verified.probes.first();
        self.entries.push(Unwritten {
            kind: GRAPH,
            key,
            sections: vec![
                (RECORD, json(&record)?),
                (PROBE, probe.map(|probe| bytes(&probe.data)).unwrap_or_default().into()),
                (DEPLOY, graph.fused.onnx().clone()),
            ],
            pool: None,
        });
        Ok(())
    }

    /// Takes note of a model's sessions, on which it runs the probe.
    pub(super) fn sessions(
        &mut self,
        key: Key,
        compiled: &mut Compiled,
        checks: Checks,
        external: Files,
    ) -> Result<(), CompileError> {
        let Checks { input, probe, answer } = checks;
        let Compiled { sessions, .. } = compiled;
        let Some(first) = sessions.narrow.first_mut() else {
            return Ok(());
        };
        let narrow = run_image(first, &probe)?;
        let wide = sessions.wide.as_mut();
        let wide = wide.map(|session| run_image(session, &probe)).transpose()?;
        let record = SessionsRecord {
            external,
            report: compiled.report.clone(),
            input,
            scores: compiled.description.scores,
            values: compiled.description.signature.classes,
            embeddings: compiled.description.signature.embeddings.clone(),
            equivalence: compiled.facts.equivalence.clone(),
            precision: compiled.facts.precision,
            auto: compiled.facts.auto.clone(),
            int8: compiled.facts.int8.clone(),
            kernels: compiled.facts.kernels.clone(),
            speed: compiled.facts.speed,
            curve: compiled.plan.curve.clone(),
            pool: compiled.pool.stored().record,
            answers: Answers {
                label: probe.label,
                shape: probe.shape,
                train_time: answer,
                narrow,
                wide,
            },
        };
        self.entries.push(Unwritten {
            kind: SESSIONS,
            key,
            sections: vec![(RECORD, json(&record)?), (PROBE, bytes(&probe.data).into())],
            pool: Some(compiled.pool.clone()),
        });
        Ok(())
    }

    /// Whether there is something to write.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes it, and lets go of each entry as soon as that is written.
    ///
    /// # Errors
    /// Where the store cannot be written, such as a full disk or a folder that is read-only.
    pub fn save(self) -> Result<(), StoreError> {
        let Some(store) = self.store else {
            return Ok(());
        };
        for Unwritten {
            kind,
            key,
            sections,
            pool,
        } in self.entries
        {
            let own = sections.iter().map(|(name, bytes)| Section::new(*name, bytes));
            let parts = pool.iter().flat_map(|pool| pool.stored().parts);
            let parts = parts.map(|(name, bytes)| Section::new(name, bytes));
            store.write(kind, &key, &own.chain(parts).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// A record as JSON.
fn json(record: &impl serde::Serialize) -> Result<Bytes, CompileError> {
    let json = serde_json::to_vec(record);
    json.map(Bytes::from).map_err(CompileError::Record)
}
