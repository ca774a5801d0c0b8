//! Rows of a table: y_i = table\[id_i\]; the gradient of a row is the sum over its places, in their order. The row of
//! the padding id gets none, as with `padding_idx` of `torch.nn.Embedding`.

use candle_core::{CpuStorage, CustomOp2, D, Device, Layout, Result, Shape, Tensor};

use super::{Host, fused, leaves, values};

/// Ids on a device, u32 of any shape. For a GPU their places are sorted here, on the host, so that its gradient finds the
/// places of an id side by side.
#[derive(Debug, Clone)]
pub struct Ids {
    ids: Tensor,
    largest: Option<u32>,
    /// The places in the order of their ids, places of one id in their own order.
    #[cfg(feature = "cuda")]
    places: Option<Tensor>,
}

impl Ids {
    /// Uploads ids.
    ///
    /// # Errors
    /// Another number of ids than the shape has; a device without memory left.
    pub fn new(ids: Vec<u32>, shape: impl Into<Shape>, device: &Device) -> Result<Self> {
        #[cfg(feature = "cuda")]
        let places = device.is_cuda().then(|| {
            let mut places: Vec<u32> = (0..ids.len() as u32).collect();
            places.sort_by_key(|place| ids[*place as usize]);
            Tensor::new(places, device)
        });
        Ok(Self {
            #[cfg(feature = "cuda")]
            places: places.transpose()?,
            largest: ids.iter().copied().max(),
            ids: Tensor::from_vec(ids, shape.into(), device)?,
        })
    }

    /// The ids of a tensor. Waits for its device.
    ///
    /// # Errors
    /// A tensor of another type than u32.
    pub fn read(ids: &Tensor) -> Result<Self> {
        Self::new(ids.flatten_all()?.to_vec1()?, ids.shape(), ids.device())
    }

    /// The ids.
    pub fn tensor(&self) -> &Tensor {
        &self.ids
    }
}

/// `table` `[V, H]`, `ids` of any shape to `[.., H]`; the row `padding` of the table gets no gradient.
///
/// # Errors
/// An id that is not below `V`.
pub fn embedding(table: &Tensor, ids: &Ids, padding: Option<u32>) -> Result<Tensor> {
    let rows = table.dim(0)?;
    if let Some(id) = ids.largest.filter(|id| *id as usize >= rows) {
        candle_core::bail!("id {id}, but the embedding has {rows} rows");
    }
    if fused(table) {
        return table.apply_op2(&ids.ids, Embedding { padding });
    }
    #[cfg(feature = "cuda")]
    if let (true, Some(places)) = (super::cuda::takes(table), &ids.places) {
        return super::cuda::embedding(table, &ids.ids, places, padding);
    }
    let ids = &ids.ids;
    let shape = [ids.dims(), &table.dims()[1..]].concat();
    let rows = table.index_select(&ids.flatten_all()?, 0)?.reshape(shape)?;
    let Some(padding) = padding else { return Ok(rows) };
    ids.eq(padding)?.unsqueeze(D::Minus1)?.broadcast_as(rows.shape())?.where_cond(&rows.detach(), &rows)
}

struct Embedding {
    padding: Option<u32>,
}

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
        let width = layout.shape().dims2()?.1;
        let (table, ids) = (values(table, layout)?, values::<u32>(ids, places)?);
        let mut y = Vec::with_capacity(ids.len() * width);
        for id in ids {
            y.extend_from_slice(&table[*id as usize * width..][..width]);
        }
        Ok((CpuStorage::F32(y), [places.dims(), &[width]].concat().into()))
    }

    fn bwd(&self, table: &Tensor, ids: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = table.dim(1)?;
        let grad = grad.contiguous()?;
        let grad = Host::new(&grad)?;
        let mut sums = vec![0.0; table.elem_count()];
        let ids = ids.flatten_all()?.to_vec1::<u32>()?;
        let places = ids.into_iter().zip(grad.values()?.chunks_exact(width));
        for (id, grad) in places.filter(|(id, _)| Some(*id) != self.padding) {
            let row = &mut sums[id as usize * width..][..width];
            row.iter_mut().zip(grad).for_each(|(sum, g)| *sum += g);
        }
        Ok((leaves::give(table, sums)?, None))
    }
}
