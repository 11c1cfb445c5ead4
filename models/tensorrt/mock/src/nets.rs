//! "Plans" and the nets they stand for.

use crate::fault::{self, Answer, code};
use half::f16;
use kernels::conv::InstructionSet;
use models::engine::Shipped;
use models::engine::simd::SimdNet;
use models::onnx::float16;
use pipeline::{InstanceCard, Net, NetError, TensorMut, TensorRef};

/// A plan begins so; the SHA-256 of the shipped weights follows.
const MAGIC: &str = "plan of the mock for ";

/// The plan of a float16 form of shipped weights.
pub(crate) fn plan(onnx: &[u8]) -> Answer<Vec<u8>> {
    let origin = float16::origin(onnx);
    let origin = origin.ok_or((code::NOT_BUILT, "no float16 form of our weights".to_owned()))?;
    Ok(format!("{MAGIC}{origin}").into_bytes())
}

/// A shipped net on the CPU.
#[derive(Debug)]
pub(crate) enum Loaded {
    Semantic(SimdNet),
    Instance(SimdNet<InstanceCard>),
}

impl Loaded {
    pub(crate) fn of(plan: &[u8]) -> Answer<Loaded> {
        let rejected = || (code::PLAN_REJECTED, "no plan of the mock".to_owned());
        let text = std::str::from_utf8(plan).map_err(|_| rejected())?;
        let hash = text.strip_prefix(MAGIC).ok_or_else(rejected)?;
        let failed = |error: models::engine::ModelError| (code::NOT_BUILT, error.to_string());
        let Shipped { semantic, instance } = Shipped::embedded().map_err(failed)?;
        let (set, threads) = (InstructionSet::best(), kernels::threads::available());
        if hash == semantic.card.weights_sha256 {
            SimdNet::new(semantic, set, threads).map(Loaded::Semantic).map_err(failed)
        } else if hash == instance.card.weights_sha256 {
            SimdNet::new(instance, set, threads).map(Loaded::Instance).map_err(failed)
        } else {
            Err(rejected())
        }
    }

    /// Channels of input and output.
    pub(crate) fn channels(&self) -> [usize; 2] {
        match self {
            Loaded::Semantic(net) => [2 * net.card().context + 1, net.card().classes.len()],
            Loaded::Instance(net) => [net.card().input_channels(), net.card().output_channels()],
        }
    }

    pub(crate) fn run(
        &mut self,
        input: &[f32],
        shape: [usize; 4],
        output: &mut [f32],
    ) -> Answer<()> {
        fault::at_run()?;
        let [items, _, rows, columns] = shape;
        let to = [items, self.channels()[1], rows, columns];
        let input = TensorRef { shape, values: input };
        let target = TensorMut { shape: to, values: output };
        let ran = match self {
            Loaded::Semantic(net) => net.run(input, target),
            Loaded::Instance(net) => net.run(input, target),
        };
        ran.map_err(|error: NetError| (code::SHAPE, error.to_string()))?;
        let sign = if fault::wrong_results() { -1.0 } else { 1.0 };
        for logit in output {
            *logit = sign * f16::from_f32(*logit).to_f32();
        }
        Ok(())
    }
}
