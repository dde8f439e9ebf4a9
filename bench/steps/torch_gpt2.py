"""Trains a GPT-2 of eager PyTorch on random tokens in fp32 and prints a line of JSON after every step.

    torch_gpt2.py MODEL THREADS STEPS

Run by compare_torch.py, in whatever Python has the PyTorch to measure, with THREADS in the variables that its libraries
read while they load.
"""
import sys

import torch

import models
import torch_model

name, threads, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(1)
model = models.MODELS[name]
torch_model.train(torch_model.GPT2(model), model, model.batch, steps, show=True)
