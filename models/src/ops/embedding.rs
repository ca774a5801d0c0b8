//! Looks up rows of a table: y_i = table\[id_i\]. The gradient of a row is the sum over the positions of its id, in
//! their order. The row of the padding id gets none, as with `padding_idx` of `torch.nn.Embedding`.

use candle_core::{CpuStorage, CustomOp2, D, Device, Layout, Result, Shape, Tensor};

use super::dispatch::fused;
#[cfg(feature = "cuda")]
use super::dispatch::on_gpu;
use super::host::{Host, values};
use super::param_grads::push_or_return;

/// Ids on a device, u32 of any shape. For a GPU, their positions are sorted here, on the host, so that the gradient
/// finds the positions of an id side by side.
#[derive(Debug, Clone)]
pub struct Ids {
    ids: Tensor,
    largest: Option<u32>,
    /// Positions in the order of their ids; positions of one id keep their order.
    #[cfg(feature = "cuda")]
    positions: Option<Tensor>,
}

impl Ids {
    /// Uploads ids to a device.
    ///
    /// # Errors
    /// The shape needs another number of ids; the device has no memory left.
    pub fn new(ids: Vec<u32>, shape: impl Into<Shape>, device: &Device) -> Result<Self> {
        #[cfg(feature = "cuda")]
        let positions = device.is_cuda().then(|| {
            let mut positions: Vec<u32> = (0..ids.len() as u32).collect();
            positions.sort_by_key(|position| ids[*position as usize]);
            Tensor::new(positions, device)
        });
        Ok(Self {
            #[cfg(feature = "cuda")]
            positions: positions.transpose()?,
            largest: ids.iter().copied().max(),
            ids: Tensor::from_vec(ids, shape.into(), device)?,
        })
    }

    /// Reads the ids of a tensor, waiting for its device.
    ///
    /// # Errors
    /// The tensor is not of type u32.
    pub fn read(ids: &Tensor) -> Result<Self> {
        Self::new(ids.flatten_all()?.to_vec1()?, ids.shape(), ids.device())
    }

    /// Returns the ids as a tensor.
    pub fn tensor(&self) -> &Tensor {
        &self.ids
    }
}

/// Returns the rows of `table` `[V, H]` that `ids`, of any shape, name, `[.., H]`. The row `padding` gets no gradient.
///
/// # Errors
/// An id is not below `V`.
pub fn embedding(table: &Tensor, ids: &Ids, padding: Option<u32>) -> Result<Tensor> {
    let rows = table.dim(0)?;
    if let Some(id) = ids.largest.filter(|id| *id as usize >= rows) {
        candle_core::bail!("id {id}, but the embedding has {rows} rows");
    }
    if fused(table) {
        return table.apply_op2(&ids.ids, EmbeddingOp { padding });
    }
    #[cfg(feature = "cuda")]
    if let (true, Some(positions)) = (on_gpu(table), &ids.positions) {
        return super::cuda::embedding(table, &ids.ids, positions, padding);
    }
    let ids = &ids.ids;
    let shape = [ids.dims(), &table.dims()[1..]].concat();
    let rows = table.index_select(&ids.flatten_all()?, 0)?.reshape(shape)?;
    let Some(padding) = padding else { return Ok(rows) };
    ids.eq(padding)?.unsqueeze(D::Minus1)?.broadcast_as(rows.shape())?.where_cond(&rows.detach(), &rows)
}

/// The node of the graph.
struct EmbeddingOp {
    padding: Option<u32>,
}

impl CustomOp2 for EmbeddingOp {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(
        &self,
        table: &CpuStorage,
        layout: &Layout,
        ids: &CpuStorage,
        ids_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = layout.shape().dims2()?.1;
        let table = values(table, layout)?;
        let ids = values::<u32>(ids, ids_layout)?;
        let mut y = Vec::with_capacity(ids.len() * width);
        for id in ids {
            y.extend_from_slice(&table[*id as usize * width..][..width]);
        }
        Ok((CpuStorage::F32(y), [ids_layout.dims(), &[width]].concat().into()))
    }

    fn bwd(&self, table: &Tensor, ids: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = table.dim(1)?;
        let grad = grad.contiguous()?;
        let grad = Host::new(&grad)?;
        let mut sums = vec![0.0; table.elem_count()];
        let ids = ids.flatten_all()?.to_vec1::<u32>()?;
        let rows = ids.into_iter().zip(grad.values()?.chunks_exact(width));
        for (id, grad) in rows.filter(|(id, _)| Some(*id) != self.padding) {
            let row = &mut sums[id as usize * width..][..width];
            row.iter_mut().zip(grad).for_each(|(sum, g)| *sum += g);
        }
        Ok((push_or_return(table, sums)?, None))
    }
}
