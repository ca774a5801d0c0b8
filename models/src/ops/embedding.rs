//! Rows of a table: y_i = table\[id_i\]; the gradient of a row is the sum over its places, in their order.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::{Host, fused, leaves, values};

/// `table` `[V, H]`, `ids` u32 of any shape to `[.., H]`.
///
/// # Errors
/// An id that is not below `V`.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    if fused(table) {
        return table.apply_op2(&ids.contiguous()?, Embedding);
    }
    #[cfg(feature = "cuda")]
    if super::cuda::takes(table) {
        return super::cuda::embedding(table, ids);
    }
    let shape = [ids.dims(), &table.dims()[1..]].concat();
    table.index_select(&ids.flatten_all()?, 0)?.reshape(shape)
}

struct Embedding;

impl CustomOp2 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(
        &self,
        table: &CpuStorage,
        layout: &Layout,
        ids: &CpuStorage,
        places: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let (table, ids) = (values(table, layout)?, values::<u32>(ids, places)?);
        let mut y = Vec::with_capacity(ids.len() * width);
        for id in ids {
            let id = *id as usize;
            if id >= rows {
                candle_core::bail!("id {id}, but the embedding has {rows} rows");
            }
            y.extend_from_slice(&table[id * width..(id + 1) * width]);
        }
        Ok((CpuStorage::F32(y), [places.dims(), &[width]].concat().into()))
    }

    fn bwd(&self, table: &Tensor, ids: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = table.dim(1)?;
        let grad = grad.contiguous()?;
        let grad = Host::new(&grad)?;
        let mut sums = vec![0.0; table.elem_count()];
        for (id, grad) in ids.flatten_all()?.to_vec1::<u32>()?.into_iter().zip(grad.values()?.chunks_exact(width)) {
            let row = &mut sums[id as usize * width..][..width];
            row.iter_mut().zip(grad).for_each(|(sum, g)| *sum += g);
        }
        Ok((leaves::give(table, sums)?, None))
    }
}
