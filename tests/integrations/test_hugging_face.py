"""Hugging Face's Trainer and Accelerate in a trial that fails and goes on as if it had not. Nothing is fetched."""

from __future__ import annotations

from perdure import tune


def train_with_trainer(config):
    import torch
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

    from perdure.integrations.transformers import TuneReportCheckpointCallback, resume_path

    class Fails(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if config["fails"] and resume is None and state.global_step == 5:
                raise RuntimeError("fails")

    resume = resume_path()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForSequenceClassification(BertConfig(vocab_size=16, max_position_embeddings=8, **sizes))
    data = [{"input_ids": [i % 16, (i + 1) % 16], "attention_mask": [1, 1], "labels": i % 2} for i in range(8)]
    arguments = TrainingArguments(
        output_dir="out",
        num_train_epochs=4,
        per_device_train_batch_size=4,
        learning_rate=0.01,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=1,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=data,
        eval_dataset=data,
        callbacks=[TuneReportCheckpointCallback({"loss": "eval_loss", "epoch": "epoch"}), Fails()],
    )
    trainer.train(resume_from_checkpoint=resume)


def train_with_accelerate(config):
    import torch
    from accelerate import Accelerator

    from perdure.integrations.accelerate import report, resume

    torch.set_num_threads(1)
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
    model, optimizer = accelerator.prepare(model, torch.optim.Adam(model.parameters(), lr=0.1))
    x = torch.linspace(-1, 1, 16).reshape(8, 2)
    resumed = tune.get_checkpoint() is not None
    for epoch in range(resume(accelerator).get("epochs", 0), 4):
        if config["fails"] and not resumed and epoch == 2:
            raise RuntimeError("fails")
        loss = (model(x).squeeze(-1) - x.sum(dim=1)).pow(2).mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        report(accelerator, {"loss": loss.item(), "epoch": epoch + 1}, epochs=epoch + 1)


def pair(tuner, train):
    """The same training, whole and with a failure in the middle."""
    grid = tuner(
        train,
        {"fails": tune.grid_search([False, True])},
        failure_config=tune.FailureConfig(max_failures=1),
        executor="inline",
    ).fit()
    assert [result.error for result in grid] == [None] * 2
    return sorted(grid, key=lambda result: result.config["fails"])


def test_the_trainer(tuner):
    import torch
    from safetensors.torch import load_file

    whole, failed = pair(tuner, train_with_trainer)
    assert list(whole.metrics_dataframe["epoch"]) == [1.0, 2.0, 3.0, 4.0]
    assert list(failed.metrics_dataframe["loss"]) == list(whole.metrics_dataframe["loss"])
    assert failed.metrics["iterations_since_restore"] == 2
    one, other = (load_file(f"{result.checkpoint.path}/checkpoint/model.safetensors") for result in (whole, failed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_accelerate(tuner):
    whole, failed = pair(tuner, train_with_accelerate)
    assert list(failed.metrics_dataframe["loss"]) == list(whole.metrics_dataframe["loss"])
    assert failed.metrics["iterations_since_restore"] == 2
