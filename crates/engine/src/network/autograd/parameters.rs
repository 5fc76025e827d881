//! Parameters as candle tensors: from the flat arena, and their gradients back into one.
//!
//! Owns: the map between names and tensors. May not touch: what is computed with them.

use super::values;
use crate::network::layout::ParameterLayout;
use candle_core::{DType, Device, Result, Tensor, Var, WithDType, bail};
use clino_domain::Layout;
use std::collections::HashMap;

/// The parameters of one forward.
pub struct CandleParameters {
    tensors: HashMap<String, Tensor>,
    dtype: DType,
    device: Device,
}

impl CandleParameters {
    /// Copies them out of the arena `w`; with `keep` as variables, so that candle records what is done with them.
    pub fn new<T: WithDType>(layout: &ParameterLayout, w: &[T], keep: bool) -> Result<Self> {
        let mut tensors = HashMap::new();
        for (spec, slot) in layout.parameters().iter().zip(layout.slots()) {
            let shape: Vec<usize> = spec.shape.iter().map(|axis| *axis as usize).collect();
            let values = &w[slot.range()];
            let tensor = match keep {
                true => Var::from_slice(values, shape, &Device::Cpu)?.into_inner(),
                false => Tensor::from_slice(values, shape, &Device::Cpu)?,
            };
            tensors.insert(slot.name.clone(), tensor);
        }
        Ok(Self { tensors, dtype: T::DTYPE, device: Device::Cpu })
    }

    /// Those that somebody holds, by name, all of one type and on one device.
    #[allow(dead_code, reason = "for devices that keep them; on the CPU they are copied out of the arena")]
    pub fn held(tensors: HashMap<String, Tensor>, dtype: DType, device: Device) -> Self {
        Self { tensors, dtype, device }
    }

    /// One of them, in the shape of the layout.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        match self.tensors.get(name) {
            Some(tensor) => Ok(tensor),
            None => bail!("the layout has no {name}"),
        }
    }

    /// Weight and bias of a layer: `{name}.weight` and `{name}.bias`.
    pub fn pair(&self, name: &str) -> Result<[&Tensor; 2]> {
        Ok([self.get(&format!("{name}.weight"))?, self.get(&format!("{name}.bias"))?])
    }

    /// A tensor of the parameters' dtype that needs no gradient.
    pub fn constant<T: WithDType>(&self, values: &[T], shape: &[usize]) -> Result<Tensor> {
        Tensor::from_slice(values, shape, &Device::Cpu)?.to_dtype(self.dtype)?.to_device(&self.device)
    }

    /// The device that holds the parameters.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Adds to `gradient`, laid out as the arena, the derivative for the derivative `d_logits` along `logits`
    /// [examples, classes], which were computed from these parameters.
    ///
    /// A parameter that the graph does not reach is an error: it means that an operation dropped its gradient.
    pub fn add_gradient<T: WithDType>(
        &self,
        layout: &ParameterLayout,
        logits: &Tensor,
        d_logits: &[T],
        gradient: &mut [T],
    ) -> Result<()> {
        let d_logits = self.constant(d_logits, logits.dims())?;
        let gradients = (logits * d_logits)?.sum_all()?.backward()?;
        for slot in layout.slots() {
            let Some(found) = gradients.get(self.get(&slot.name)?) else {
                bail!("{} got no gradient", slot.name)
            };
            for (sum, x) in gradient[slot.range()].iter_mut().zip(values::<T>(found)?) {
                *sum += x;
            }
        }
        Ok(())
    }
}
