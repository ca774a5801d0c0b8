#!/bin/bash
# Writes the report over what is finished and lists the gaps; exit code 1 if there are any. Written by `mkgc sweep --slurm`.
cd -- {{folder}} || exit
exec {{mkgc}} --report
