"""Costs and limits: the rules that price them. The record, the critics and the scalarizer protocol carry them already."""
