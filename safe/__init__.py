"""Costs and limits: the rules that price them. Records, critics and scalarizers carry costs already."""
